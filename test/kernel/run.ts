/**
 * npm run test:kernel -- --seed S --loads N: a real kernel, the agent inside, a registry outside; what the registry
 * says of each load beside what the kernel does. Exits with 1 on a failure, with 77 where it had to be skipped.
 */
import { createWriteStream, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { run_boot } from "./boot.js";
import { build_patches } from "./build_patches.js";
import { provide_kernel, provide_programs } from "./debian.js";
import { make_initramfs } from "./initramfs.js";
import { type ManifestDocument, manifest_of } from "./manifests.js";
import { ALL } from "./patches.js";
import { boots } from "./plan.js";
import { SKIPPED_CODE, Skipped } from "./skipped.js";
import { no_counts } from "./trial.js";
import { Witness } from "./witness.js";

const LOADS_DEFAULT = 120;
/** What fewer loads than these would leave untried. */
const LOADS_MIN = 100;
const REFUSED_MIN = 30;
const EXCLUDED_MAX = 0.05;

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: `${Date.now() % 1_000_000}` },
    loads: { type: "string", default: `${LOADS_DEFAULT}` },
    kernel: { type: "string" },
  },
});
const seed = Number(values.seed);
const loads = Number(values.loads);
if (![seed, loads].every(Number.isSafeInteger) || loads < 1) {
  console.error("usage: npm run test:kernel -- --seed S --loads N --kernel RELEASE");
  process.exit(2);
}

const began_ms = Date.now();
function say(line: string): void {
  console.log(`${((Date.now() - began_ms) / 1000).toFixed(0).padStart(4)} s  ${line}`);
}

async function run(): Promise<number> {
  provide_programs(say);
  const kernel = provide_kernel(values.kernel, say);
  const patches = build_patches(ALL, kernel, say);
  const workplace = mkdtempSync(join(tmpdir(), "klpstate-kernel-"));
  say(`seed ${seed}, kernel ${kernel.release}, files in ${workplace}`);
  const initramfs_file = join(workplace, "initramfs.cpio");
  make_initramfs(patches, workplace, initramfs_file);
  const manifests = new Map<string, ManifestDocument>();
  for (const spec of ALL) {
    const manifest = await manifest_of(spec, patches, kernel.release);
    if (manifest !== null) manifests.set(spec.name, manifest);
  }
  mkdirSync(join(workplace, "registry"));
  const events = createWriteStream(join(workplace, "events.ndjson"));
  const witness = await Witness.open(join(workplace, "registry"), (line) => void events.write(`${line}\n`));
  for (const manifest of manifests.values()) await witness.publish(manifest);
  const record = createWriteStream(join(workplace, "verdicts.ndjson"));
  const counts = no_counts();
  const place = { image_file: kernel.image_file, initramfs_file, workplace };
  const write_down = (document: object) => void record.write(`${JSON.stringify(document)}\n`);
  for (const boot of boots(seed, loads)) {
    say(`boots for: ${boot.name}`);
    await run_boot(boot, { ...place, witness, manifests, counts, say, write_down });
  }
  await witness.close();
  record.end();
  events.end();
  for (const [key, count] of [...counts.compared].sort()) say(`${count} × ${key}`);
  say(`${witness.lines} events; ${counts.unforeseen} loads refused for what is wrong with the module itself`);
  const is_full = loads >= LOADS_MIN;
  const facts: [boolean, string][] = [
    [!is_full || counts.loads >= LOADS_MIN, `${counts.loads} loads, at least ${LOADS_MIN} are wanted`],
    [
      !is_full || counts.refused >= REFUSED_MIN,
      `${counts.refused} were refused, at least ${REFUSED_MIN} are wanted`,
    ],
    [
      counts.excluded <= counts.loads * EXCLUDED_MAX,
      `${counts.excluded} of ${counts.loads} loads are excluded`,
    ],
  ];
  for (const [holds, fact] of facts) {
    if (holds) counts.passed += 1;
    else {
      counts.failed += 1;
      say(`FAILED: ${fact}`);
    }
  }
  if (counts.failed === 0) rmSync(workplace, { recursive: true });
  else
    say(
      `again: npm run test:kernel -- --seed ${seed} --loads ${loads} --kernel ${kernel.release}; more is in ${workplace}`,
    );
  console.log(
    `${counts.loads} loads, ${counts.refused} refused, ${counts.disagreements} disagreements, ${counts.excluded} excluded`,
  );
  console.log(`${counts.passed} passed, ${counts.failed} failed`);
  return counts.failed === 0 ? 0 : 1;
}

try {
  process.exitCode = await run();
} catch (error) {
  if (!(error instanceof Skipped)) throw error;
  console.log(`SKIPPED: ${error.message}`);
  process.exitCode = SKIPPED_CODE;
}
