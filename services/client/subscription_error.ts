/** Why a subscription ended by itself. */
export type SubscriptionErrorCode =
  | "unreachable" // no broker answers, or none lets this client in
  | "no_topic" // the topic of state changes is not there
  | "expired" // changes that were not read yet are in the topic no more
  | "not_understood" // a record of the topic is no state change
  | "kafka"; // a failure that kafkajs does not get over

export class SubscriptionError extends Error {
  override readonly name = "SubscriptionError";
  constructor(
    readonly code: SubscriptionErrorCode,
    message: string,
    /** Of the topic, where it is about one. */
    readonly partition: number | null = null,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
