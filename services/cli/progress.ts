/** A bar on standard error, for who waits at a terminal for more than two seconds. */
import type { Terminal } from "./terminal.js";

const FIRST_AFTER_MS = 2_000;
const INTERVAL_MS = 100;
const BAR_CELLS = 30;
const CLEAR_LINE = "\r\x1b[2K";

export interface Progress {
  /** `fraction` from 0 to 1; null where the end is not known. */
  show(fraction: number | null, text: string): void;
  /** Takes the bar away. */
  end(): void;
}

export function start_progress(terminal: Terminal): Progress {
  const { stderr } = terminal;
  if (stderr.isTTY !== true) return { show() {}, end() {} };
  let next_ms = performance.now() + FIRST_AFTER_MS;
  let shown = false;
  return {
    show(fraction, text) {
      const now_ms = performance.now();
      if (now_ms < next_ms) return;
      next_ms = now_ms + INTERVAL_MS;
      shown = true;
      stderr.write(`${CLEAR_LINE}${fraction === null ? "" : bar(fraction)}${text}`);
    },
    end() {
      if (shown) stderr.write(CLEAR_LINE);
    },
  };
}

const LOOK_EVERY_MS = 200;

/** Says what is waited for, to who waits for an answer whose end is not known. */
export async function while_waiting<Answer>(
  terminal: Terminal,
  text: string,
  answer: Promise<Answer>,
): Promise<Answer> {
  const progress = start_progress(terminal);
  const timer = setInterval(() => progress.show(null, text), LOOK_EVERY_MS);
  try {
    return await answer;
  } finally {
    clearInterval(timer);
    progress.end();
  }
}

function bar(fraction: number): string {
  const filled = Math.round(Math.min(Math.max(fraction, 0), 1) * BAR_CELLS);
  const percent = String(Math.floor(fraction * 100)).padStart(3);
  return `[${"#".repeat(filled)}${".".repeat(BAR_CELLS - filled)}] ${percent}% `;
}
