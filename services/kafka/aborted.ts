/**
 * Aborted transactions are not read. kafkajs looks at one aborted transaction for each message: where a fetch begins within
 * two of them, the second one's first message is handed over. It also takes any record with a key of four zero bytes for
 * a transaction's end.
 */

/** A record as kafkajs's protocol reads it, or a whole batch. */
interface Fetched {
  offset: string;
  key: Buffer | null;
  isControlRecord: boolean;
  batchContext: { producerId: string; inTransaction: boolean };
}

interface Aborted {
  producerId: string;
  firstOffset: string;
}

/** Of a control record: version 0, and that the transaction was aborted. */
const ABORT = Buffer.from([0, 0, 0, 0]);

/** In the place of kafkajs's filter; in offset order, as Kafka's own consumer does it. */
export function without_aborted<Message extends Fetched>({
  messages,
  abortedTransactions,
}: {
  messages: Message[];
  abortedTransactions?: Aborted[] | null;
}): Message[] {
  if (!abortedTransactions?.length) return messages;
  const ahead = abortedTransactions.toSorted((a, b) =>
    BigInt(a.firstOffset) < BigInt(b.firstOffset) ? -1 : 1,
  );
  const aborted = new Set<string>();
  return messages.filter(({ offset, key, isControlRecord, batchContext: { producerId, inTransaction } }) => {
    while (ahead.length > 0 && BigInt(ahead[0]!.firstOffset) <= BigInt(offset))
      aborted.add(ahead.shift()!.producerId);
    if (isControlRecord && key !== null && ABORT.equals(key)) aborted.delete(producerId);
    return isControlRecord || !(inTransaction && aborted.has(producerId));
  });
}
