/** Bytes of the log that do not check and were no torn tail: what they belong to is not served. */

/** Where and why. `offset` is the one that the log would go on with at that byte. */
export class LogCorruption extends Error {
  override readonly name = "LogCorruption";
  constructor(
    /** Which log, as given to Log.open. */
    readonly log: string,
    readonly file: string,
    /** Where the frame that does not check begins. */
    readonly byte: number,
    readonly offset: bigint,
    readonly reason: string,
  ) {
    super(`the log ${log} is damaged in ${file} at byte ${byte} (offset ${offset}): ${reason}`);
  }
}
