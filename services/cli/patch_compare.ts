/** `klpstate patch compare`: may a patch be loaded over others, and what would change? From files alone. */
import type { Command } from "commander";
import type { Manifest } from "../events/codec.js";
import { Problem } from "../events/problem.js";
import type { HostVerdict } from "../registry/answers.js";
import { type ExitCode, type Session, with_examples } from "./command.js";
import { type ManifestInput, read_one_manifest, require_replace, warnings_text } from "./manifest_input.js";
import { changes_of } from "./patch_changes.js";
import { type Comparison, comparison_text, type Direction } from "./render/compare_text.js";
import { verdicts_over } from "./stack_verdict.js";
import { paint_for, print } from "./terminal.js";

const SAY_REPLACE = "say replace: true or replace: false in its .yaml";

export function add_patch_compare_command(patch: Command, session: Session): void {
  const command = patch
    .command("compare")
    .description(
      "say whether the last patch may be loaded over the others, and what it changes; asks no fleet",
    )
    .argument("<files...>", "OLD... NEW: modules or manifests in JSON, the stack's oldest first")
    .option("--json", "answer with a JSON document")
    .action(async (files: string[], { json }: { json?: boolean }) => {
      const { stdout, stderr } = session.terminal;
      if (files.length < 2)
        throw new Problem("bad_input", "files: give OLD... and NEW: at least two", { field: "files" });
      const inputs: ManifestInput[] = [];
      for (const file of files) inputs.push(await read_one_manifest(file, session.terminal));
      for (const input of inputs) await print(stderr, warnings_text(input));
      // What the oldest of several replaces is gone anyway; of two patches both are asked about.
      for (const input of inputs.length === 2 ? inputs : inputs.slice(1)) require_replace(input, SAY_REPLACE);
      const manifests = inputs.map(({ manifest }) => manifest);
      const comparison = compare(manifests.slice(0, -1), manifests.at(-1)!);
      const text = comparison_text(comparison, paint_for(session.terminal));
      await print(stdout, json ? `${JSON.stringify(comparison)}\n` : text);
      session.end((comparison.may_load ? 0 : 1) satisfies ExitCode);
    });
  with_examples(
    command,
    ["patch compare kp_1.ko kp_2.ko", "patch compare kp_1.ko hotfix_7.ko kp_2.ko --json"],
    `
Exit codes:
  0  NEW may be loaded over OLD...
  1  it may not, or its states or theirs are not known
  2  a file cannot be read or does not tell whether it replaces, or OLD... can be no stack
`,
  );
}

function compare(stack: Manifest[], patch: Manifest): Comparison {
  require_stack(stack);
  const forth = direction(stack, patch);
  const [other, ...more] = stack;
  return {
    may_load: forth.verdict === "ok",
    forth,
    back: more.length === 0 ? direction([patch], other!) : null,
    changes: changes_of(stack, patch),
  };
}

function direction(stack: Manifest[], patch: Manifest): Direction {
  const [{ verdict, reason, conflict, unresolved, replaces, warnings }] = verdicts_over([stack], patch) as [
    HostVerdict,
  ];
  return {
    patch: patch.name ?? "",
    over: stack.map(({ name }) => name ?? ""),
    verdict,
    reason,
    conflict,
    unresolved,
    replaces,
    warnings,
  };
}

/** A host has one kernel, a name once, and nothing below a patch that replaces. */
function require_stack(stack: Manifest[]): void {
  const kernels = new Set(stack.map(({ kernel_release, arch }) => `${kernel_release} ${arch}`));
  if (kernels.size > 1) {
    const limit = "patches of one kernel";
    throw new Problem("bad_input", `files: OLD... are for ${[...kernels].join(" and ")}; give ${limit}`, {
      limit,
    });
  }
  const names = stack.map(({ name }) => name ?? "");
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined)
    throw new Problem("bad_input", `files: ${twice} is twice among OLD...; a kernel has a name once`, {
      value: twice,
    });
  const replacing = stack.findLastIndex(({ replace }) => replace);
  if (replacing > 0) {
    const name = names[replacing]!;
    const gone = names.slice(0, replacing).join(", ");
    throw new Problem("bad_input", `files: ${name} replaces ${gone}; give of OLD... what is on the stack`, {
      value: name,
    });
  }
}
