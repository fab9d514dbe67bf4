/** Requests to the worker, one after another: the next photo is decoded when the one before is done, so that a folder does not fill the memory. */
import type { ToWorker } from './protocol.ts'

export class Turns {
  /** The photo that the worker has now. */
  current: number | undefined
  private last: Promise<void> = Promise.resolve()
  private onAnswer = () => {}
  private readonly send: (message: ToWorker) => void

  constructor(send: (message: ToWorker) => void) {
    this.send = send
  }

  /**
   * Sends a request when its turn comes, and takes its time until `answered` is called for the photo.
   *
   * @param isWanted asked when its turn comes: a photo may have been removed or cancelled meanwhile
   * @param request made then; where it rejects, `failed` is called and nothing is sent
   */
  ask(id: number, isWanted: () => boolean, request: () => Promise<ToWorker>, failed: (error: unknown) => void): void {
    this.last = this.last.then(async () => {
      if (!isWanted()) return
      let message: ToWorker
      try {
        message = await request()
      } catch (error) {
        failed(error)
        return
      }
      if (!isWanted()) return
      const answer = new Promise<void>((resolve) => {
        this.onAnswer = resolve
      })
      this.current = id
      this.send(message)
      await answer
      this.current = undefined
    })
  }

  /** The worker is done with a photo, whatever came of it. */
  answered(id: number): void {
    if (id === this.current) this.onAnswer()
  }
}
