/** `klpstate conform`: does this build answer as recorded? Against vectors of the rule, real kernels and real modules. */
import type { Command } from "commander";
import { type ExitCode, type Session, with_examples } from "./command.js";
import { start_progress } from "./progress.js";
import { print } from "./terminal.js";

/** What a run found, as a document for `--json` and as lines for people. */
export interface ConformOutcome {
  conforms: boolean;
  document: unknown;
  text: string;
}

interface ConformOptions {
  json?: boolean;
}

export function add_conform_command(program: Command, session: Session): void {
  const conform = program.command("conform").description("compare this build's answers with recorded ones");

  const end = async (outcome: ConformOutcome, { json }: ConformOptions) => {
    await print(session.terminal.stdout, json ? `${JSON.stringify(outcome.document)}\n` : outcome.text);
    session.end((outcome.conforms ? 0 : 1) satisfies ExitCode);
  };
  const exit_codes = `
Exit codes:
  0  every answer is as recorded
  1  one is not
  2  the file could not be read
`;

  const vectors = conform
    .command("vectors")
    .description("vectors of the compatibility rule, a line each")
    .argument("<file>", "JSON lines, gzipped if it ends in .gz")
    .option("--json", "answer with a JSON document")
    .action(async (file: string, options: ConformOptions) => {
      const { conform_vectors } = await import("./conform_vectors.js");
      await end(await conform_vectors(file), options);
    });
  with_examples(vectors, ["conform vectors compat-vectors.jsonl"], exit_codes);

  const scenarios = conform
    .command("scenarios")
    .description("what real kernels did, a scenario a line")
    .argument("<file>", "JSON lines, gzipped if it ends in .gz")
    .option("--json", "answer with a JSON document")
    .action(async (file: string, options: ConformOptions) => {
      const { conform_scenarios } = await import("./conform_scenarios.js");
      const progress = start_progress(session.terminal);
      await end(await conform_scenarios(file, progress).finally(progress.end), options);
    });
  with_examples(scenarios, ["conform scenarios scenarios.jsonl.gz"], exit_codes);

  const modules = conform
    .command("modules")
    .description("livepatch modules whose states are known")
    .argument("<dir>", "has manifest.json, a list of what its modules are, and the modules")
    .option("--json", "answer with a JSON document")
    .action(async (directory: string, options: ConformOptions) => {
      const { conform_modules } = await import("./conform_modules.js");
      await end(await conform_modules(directory), options);
    });
  with_examples(modules, ["conform modules test/fixtures/kernel/ko"], exit_codes);
}
