/// <reference types="@webgpu/types" preserve="true" />
/** What only a browser can do: open its GPU. */
export { type AcquireOptions, acquire, NoAdapterError } from './device/browser.ts'
