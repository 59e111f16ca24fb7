/** The Java programs beside this file: compiled in the run, with the jars of Maven Central that they need. */
import { execFile, execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { jars_in } from "../../test/kafka/jars.js";

export const STREAMS_VERSION = "4.3.1";
// Seen from dist/bench/kafka/.
const SOURCES = fileURLToPath(new URL("../../../bench/kafka/java/", import.meta.url));
const HEAP = "-Xmx2g";
const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

export class JavaPrograms {
  readonly #class_path: string;

  private constructor(class_path: string) {
    this.#class_path = class_path;
  }

  /** Compiles into `directory`, which is made. */
  static compile(directory: string): JavaPrograms {
    const jars = jars_in(`klpstate-streams-${STREAMS_VERSION}`, "kafka-streams", STREAMS_VERSION);
    const libraries = join(jars, "*");
    const sources = readdirSync(SOURCES).map((name) => join(SOURCES, name));
    execFileSync("javac", ["-cp", libraries, "-d", directory, ...sources], { stdio: "inherit" });
    return new JavaPrograms(`${directory}:${libraries}`);
  }

  /** Resolves with the standard output of a program that succeeded. */
  async run(program: string, ...program_arguments: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(
      "java",
      [
        HEAP,
        "-cp",
        this.#class_path,
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
        program,
        ...program_arguments,
      ],
      { maxBuffer: OUTPUT_BYTES_MAX },
    );
    return stdout;
  }
}

export function java_version(): string {
  const shown = execFileSync("java", ["--version"], { encoding: "utf8" });
  return shown.split(" ")[1]!;
}
