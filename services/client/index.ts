/** For programs that follow a fleet: `klpstate/client`. docs/state-changes.md says what they may rely on. */
export { type Cause, type CausePosition, cause_text, is_after, parse_cause } from "../events/cause.js";
export type { HostEvent } from "../events/codec.js";
export { event_to_json } from "../events/json.js";
export type { ChangeName } from "../events/schema.js";
export {
  decode_state_change,
  type HostStack,
  type KnowledgeName,
  type LifeChangeName,
  type PhaseName,
  type StackPatch,
  type StateChange,
  type StateLifeEntry,
} from "../events/state_change.js";
export { type ChangeStream, subscribe } from "./change_stream.js";
export {
  type ChangeHandler,
  type SubscribeOptions,
  type Subscription,
  subscribe_with,
} from "./subscription.js";
export { SubscriptionError, type SubscriptionErrorCode } from "./subscription_error.js";
