/**
 * The text by which a file says that it is a result of this program: PNG's Software, a comment in JPEG, EXIF's Software in
 * WebP. Whatever strips metadata removes it.
 */
export const MARK = 'lowkey-gpu'
