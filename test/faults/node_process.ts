/** One `klpstate serve`, started again when it ends, as a service manager would. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Room } from "./room.js";
import type { WallClock } from "./wall_clock.js";

const AGAIN_AFTER_MS = 1_000;

export interface NodeOptions {
  name: string;
  /** bin/klpstate.js of the product that is tried. */
  command: string;
  args: readonly string[];
  environment: Readonly<Record<string, string>>;
  /** Where its standard error goes. */
  log_file: string;
  room: Room;
  clock: WallClock;
  say(line: string): void;
}

export class NodeProcess {
  readonly name: string;
  readonly room: Room;
  readonly clock: WallClock;
  /** How often it ended without having been told to. */
  ended_by_itself = 0;
  readonly #options: NodeOptions;
  #child: ChildProcess | null = null;
  #is_wanted = false;
  #is_stopped = false;

  constructor(options: NodeOptions) {
    this.name = options.name;
    this.room = options.room;
    this.clock = options.clock;
    this.#options = options;
    options.room.used_by(() => this.#child?.pid ?? null);
  }

  /** It is not waited for. */
  start(): void {
    this.#is_wanted = true;
    this.#spawn();
  }

  #spawn(): void {
    const { command, args, environment, log_file, name, say, clock } = this.#options;
    const log = openSync(log_file, "a");
    const child = spawn(process.execPath, [command, "serve", ...args], {
      stdio: ["ignore", log, log],
      env: { ...process.env, NO_COLOR: "1", ...environment, ...clock.environment },
    });
    closeSync(log);
    this.#child = child;
    child.once("exit", async (code, signal) => {
      if (this.#child !== child) return;
      this.#child = null;
      if (!this.#is_wanted) return;
      this.ended_by_itself += 1;
      say(`${name} ended by itself with ${code ?? signal}`);
      await sleep(AGAIN_AFTER_MS);
      if (this.#is_wanted && this.#child === null) this.#spawn();
    });
  }

  /** With SIGTERM it may end what it is about. */
  async end(signal: "SIGKILL" | "SIGTERM"): Promise<void> {
    this.#is_wanted = false;
    const child = this.#child;
    if (child === null) return;
    const exited = once(child, "exit");
    child.kill(signal);
    await exited;
  }

  /** `kill -9`, waited for by nobody. */
  abandon(): void {
    this.#is_wanted = false;
    this.#child?.kill("SIGKILL");
  }

  pause(): void {
    this.#is_stopped = this.#child?.kill("SIGSTOP") ?? false;
  }

  go_on(): void {
    if (this.#is_stopped) this.#child?.kill("SIGCONT");
    this.#is_stopped = false;
  }
}
