/** A booted kernel, its command channel and the lines of the agent inside. */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { RecordedStep } from "../../services/cli/recording.js";

/** The command's result, and what the kernel shows behind it. */
export interface Answer extends RecordedStep {
  /** By the guest's clock. */
  at_ms: number;
  out: string;
  agent_runs: boolean;
}

export interface GuestOptions {
  image_file: string;
  initramfs_file: string;
  /** Where the console's file and the sockets go. */
  workplace: string;
  /** The boot's name, for files and messages. */
  name: string;
  kernel_parameters: readonly string[];
  /** A line that the agent wrote. */
  on_agent_line(line: string): void;
}

const MEMORY_MIB = 1024;
/** Emulated, and beside other work. */
const BOOT_LIMIT_MS = 180_000;
const ANSWER_LIMIT_MS = 120_000;
const OFF_LIMIT_MS = 10_000;

const KERNEL_PARAMETERS = [
  "console=ttyS0",
  "rdinit=/init",
  "panic=-1",
  "oops=panic",
  "mitigations=off",
  "nokaslr",
  "tsc=reliable",
  "audit=0",
  // Transitions wait for grace periods.
  "rcupdate.rcu_expedited=1",
  // Else what user space writes to the kernel's log is cut down to a few lines a second.
  "printk.devkmsg=on",
];

export class Guest {
  readonly #name: string;
  readonly #qemu: ChildProcess;
  readonly #commands: Socket;
  readonly #answers: AsyncIterator<string>;

  private constructor(name: string, qemu: ChildProcess, commands: Socket) {
    this.#name = name;
    this.#qemu = qemu;
    this.#commands = commands;
    this.#answers = createInterface({ input: commands })[Symbol.asyncIterator]();
  }

  static async boot(options: GuestOptions): Promise<Guest> {
    const { workplace, name } = options;
    const command_port = join(workplace, `${name}.commands`);
    const agent_port = join(workplace, `${name}.agent`);
    const sockets = Promise.all([first_connection(command_port), first_connection(agent_port)]);
    const qemu = spawn(
      "nice",
      [
        ..."-n 10 qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -nodefaults".split(" "),
        ..."-no-reboot -display none -monitor none".split(" "),
        ...["-m", `${MEMORY_MIB}`, "-kernel", options.image_file, "-initrd", options.initramfs_file],
        ...["-serial", `file:${join(workplace, `${name}.console`)}`],
        ...["-serial", `unix:${command_port}`, "-serial", `unix:${agent_port}`],
        ...["-append", [...KERNEL_PARAMETERS, ...options.kernel_parameters].join(" ")],
      ],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    const failed = new Promise<never>((_, reject) => {
      qemu.once("error", reject);
      qemu.once("exit", (code) => reject(new Error(`${name}: QEMU ended with ${code}`)));
    });
    // Looked at only until the guest has answered.
    failed.catch(() => {});
    try {
      const [commands, agent] = await Promise.race([sockets, failed]);
      createInterface({ input: agent }).on("line", options.on_agent_line);
      const guest = new Guest(name, qemu, commands);
      await guest.#answer("the boot", BOOT_LIMIT_MS);
      return guest;
    } catch (error) {
      qemu.kill("SIGKILL");
      throw error;
    }
  }

  /** Throws where the guest does not answer: it is gone then. */
  async ask(operation: string, ...args: (string | number)[]): Promise<Answer> {
    this.#commands.write(`${[operation, ...args].join("\t")}\n`);
    return this.#answer(`${operation} ${args.join(" ")}`, ANSWER_LIMIT_MS);
  }

  async off(): Promise<void> {
    if (this.#qemu.exitCode !== null || this.#qemu.signalCode !== null) return;
    const ended = new Promise((resolve) => this.#qemu.once("exit", resolve));
    if (this.#commands.writable) this.#commands.write("off\n");
    const timer = setTimeout(() => this.#qemu.kill("SIGKILL"), OFF_LIMIT_MS);
    await ended;
    clearTimeout(timer);
  }

  async #answer(to: string, limit_ms: number): Promise<Answer> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#qemu.kill("SIGKILL");
        reject(new Error(`${this.#name}: no answer to ${to} in ${limit_ms / 1000} s`));
      }, limit_ms);
    });
    try {
      const { value, done } = await Promise.race([this.#answers.next(), late]);
      if (done) throw new Error(`${this.#name}: the guest is gone, and did not answer to ${to}`);
      return JSON.parse(value) as Answer;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Listens until somebody comes, and to nobody else. */
function first_connection(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      server.close();
      resolve(socket);
    });
    server.once("error", reject);
    server.listen(path);
  });
}
