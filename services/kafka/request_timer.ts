/**
 * kafkajs sets a timer after every response, also where no request waits, for a time that lies in the past: newer Nodes
 * warn of each process's first (TimeoutNegativeWarning), and every connection then wakes its thread once a millisecond
 * for ever. Here there is a timer only while requests wait. The warning is not filtered: another program part's is heard.
 */
export interface RequestQueue {
  pending: unknown[];
  throttledUntil: number;
  throttleCheckTimeoutId: NodeJS.Timeout | null;
  checkPendingRequests(): void;
  scheduleCheckPendingRequests(): void;
}

/** As kafkajs, where requests wait for a response and not for the end of a throttling. */
const CHECK_INTERVAL_MS = 10;

export function end_idle_timers(request_queue: RequestQueue): void {
  request_queue.scheduleCheckPendingRequests = function () {
    if (this.pending.length === 0 || this.throttleCheckTimeoutId !== null) return;
    const throttled_ms = this.throttledUntil - Date.now();
    const wait_ms = throttled_ms > 0 ? throttled_ms : CHECK_INTERVAL_MS;
    this.throttleCheckTimeoutId = setTimeout(() => {
      this.throttleCheckTimeoutId = null;
      this.checkPendingRequests();
    }, wait_ms);
  };
}
