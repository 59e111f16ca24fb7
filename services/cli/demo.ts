/**
 * The demonstration: a fleet whose hosts did what real kernels did in the recorded scenarios, each up to a step of its
 * own, spread over the last days. What it adds to the recordings is only what happens to publishers.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { identity_key } from "../catalog/manifests.js";
import { read_module } from "../catalog/module/read_module.js";
import {
  encode_batch,
  encode_event,
  encode_manifest,
  type HostEvent,
  type Manifest,
} from "../events/codec.js";
import { klpstate } from "../events/proto.js";
import { u64_to_bigint } from "../events/u64.js";
import {
  batches_of,
  manifests_of,
  Player,
  type RecordedStep,
  type Recording,
  read_recordings,
} from "./recording.js";

export interface DemoHost {
  host_id: string;
  recording: Recording;
  /** In the order of their times. */
  events: HostEvent[];
}

const ROLES = ["web", "db", "api", "cache", "batch", "edge"];
const SITES = ["fra", "ams", "nyc", "sin", "gru", "syd"];
const HOUR_MS = 60 * 60 * 1_000;

/** The vendor has not told what this build contains: hosts that have it cannot be answered for. */
const UNTOLD = { name: "p22", kernel: "7.3." };

/** What happens to publishers and to hosts beside their patches: to one host in so many. */
const ONE_IN = {
  lost_events: 89,
  lost_baseline: 197,
  restored_copy: 311,
  no_rights: 263,
  modules_disabled: 127,
  signature_required: 113,
  fell_silent: 37,
};

/** The candidate of the first command: an old patch, which some host or other takes, has, refuses, holds up or cannot judge. */
export const DEMO_CANDIDATE = "nc1v1";

/** What to try, as arguments of the command: the fleet, a host that refuses, one whose replacement was forced. */
export const DEMO_COMMANDS = [
  `check ${DEMO_CANDIDATE}`,
  `check ${DEMO_CANDIDATE} --host edge-syd-040`,
  "history batch-nyc-032",
];

/** The fleet as of `now_ms`: the same recordings give the same hosts. */
export function demo_fleet(recordings: Recording[], now_ms: number): DemoHost[] {
  const parts = recordings.flatMap((recording) =>
    cuts_of(recording.steps).map((steps) => ({ recording, steps })),
  );
  return parts.map(({ recording, steps }, number) => demo_host(recording, steps, number, now_ms));
}

/** The manifests of all module files below a directory. */
export async function read_demo_modules(directory: string): Promise<Manifest[]> {
  const names = await readdir(directory, { recursive: true });
  const files = names.filter((name) => name.endsWith(".ko")).sort();
  return Promise.all(files.map(async (name) => (await read_module(join(directory, name))).manifest));
}

/** The recordings with what the files of their modules say; a module whose file is not there is as it was recorded. */
export function with_modules(recordings: Recording[], manifests: Manifest[]): Recording[] {
  const files = new Map(manifests.map((manifest) => [what_checks_see(manifest), manifest]));
  return recordings.map((recording) => ({
    ...recording,
    modules: new Map(
      Array.from(recording.modules, ([name, module]) => {
        const manifest = files.get(what_checks_see(module.manifest));
        if (manifest === undefined) return [name, module];
        return [
          name,
          { ...module, manifest, build_id: Buffer.from(manifest.build_id ?? []).toString("hex") },
        ];
      }),
    ),
  }));
}

/** Another recorder's module of a name may have other states: then the file is not that module's. */
function what_checks_see({ name, kernel_release, arch, replace, states }: Manifest): string {
  const seen = (states ?? []).map(({ id, version }) => ({ id, version: version ?? 0 }));
  const manifest = encode_manifest({
    name,
    kernel_release,
    arch,
    replace: replace ?? false,
    states: seen,
  } as Manifest);
  return Buffer.from(manifest).toString("hex");
}

/** Manifests that the demonstration's catalog has. */
export function demo_manifests(recordings: Recording[], modules: Manifest[]): Manifest[] {
  const all = new Map(
    [...manifests_of(recordings), ...modules].map((manifest) => [identity_key(manifest), manifest]),
  );
  return [...all.values()].filter(
    ({ name, kernel_release }) => name !== UNTOLD.name || !kernel_release!.startsWith(UNTOLD.kernel),
  );
}

/** How many steps its hosts have gone: to the end, half way, and to where a transition ran for long. */
function cuts_of(steps: readonly RecordedStep[]): number[] {
  const running = steps.findLastIndex(({ after }) => after.some(({ transition }) => transition));
  const cuts = [steps.length, Math.ceil(steps.length / 2), Math.ceil((steps.length * 3) / 4), running + 1];
  return [...new Set(cuts)].filter((cut) => cut > 0);
}

function host_name(number: number): string {
  const role = ROLES[number % ROLES.length]!;
  const site = SITES[Math.floor(number / ROLES.length) % SITES.length]!;
  const rack = Math.floor(number / (ROLES.length * SITES.length)) + 1;
  return `${role}-${site}-${String(rack).padStart(3, "0")}`;
}

function demo_host(recording: Recording, cut: number, number: number, now_ms: number): DemoHost {
  const host_id = host_name(number);
  const digest = createHash("sha256").update(host_id).digest();
  const dice = (at: number) => digest.readUInt32LE(at * 4) / 2 ** 32;
  const is = (what: keyof typeof ONE_IN) => number % ONE_IN[what] === ONE_IN[what] - 1;

  const silent_ms = is("fell_silent") ? (30 + 40 * dice(0)) * HOUR_MS : 20 * dice(0) * HOUR_MS;
  const end_ms = Math.floor(now_ms - silent_ms);
  const length_ms = (24 + 5 * 24 * dice(1)) * HOUR_MS;
  const time_of = (moment: number) => Math.floor(end_ms - length_ms * (1 - moment / (cut + 1)));
  const player = new Player(recording, {
    host_id,
    stream: digest.readBigUInt64LE(16) || 1n,
    boot_id: digest.toString("hex", 0, 16),
    boot_time_unix_s: Math.floor(time_of(0) / 1_000) - 60,
  });

  const baseline = player.observe(time_of(0));
  const events = is("lost_baseline") ? [] : [baseline];
  recording.steps.slice(0, cut).forEach((step, at) => {
    if (is("lost_events") && at > 0) player.lose();
    events.push(...player.play(step, time_of(at + 1)).events);
  });
  const last_look = player.observe(end_ms);
  const observed = last_look.observed!;
  if (is("no_rights")) {
    const { kernel_release, arch, boot_id } = observed as Required<klpstate.v1.Observed.$Properties>;
    const livepatching = klpstate.v1.Livepatching.UNREADABLE;
    events.push({ ...last_look, observed: { kernel_release, arch, boot_id, livepatching } });
  } else if (is("modules_disabled")) {
    events.push({ ...last_look, observed: { ...observed, policy: { modules_disabled: true } } });
  } else if (is("signature_required")) {
    events.push({ ...last_look, observed: { ...observed, policy: { signature_required: true } } });
  } else if (is("restored_copy")) {
    // Two machines from one image count on from the same number.
    events.push(last_look, { ...last_look, time_unix_ms: end_ms + 1 });
  } else if (events.length === 0 || !(is("lost_baseline") || is("lost_events"))) {
    events.push(last_look);
  }
  return { host_id, recording, events };
}

export interface FillOptions {
  /** The recorded scenarios. */
  recordings: string;
  /** A directory with module files of the recorded kernels. */
  modules: string;
  /** Where the demonstration's registry will be; must not be there. */
  directory: string;
  now_ms: number;
  show(fraction: number, text: string): void;
}

/** Fills a directory beside, and renames it once it is whole, so that one which was interrupted begins again. */
export async function fill_demo({ recordings: file, modules, directory, now_ms, show }: FillOptions) {
  const { open_registry } = await import("../registry/open_registry.js");
  const manifests = await read_demo_modules(modules);
  const recordings = with_modules(await read_recordings(file), manifests);
  const filling = join(dirname(directory), `.${basename(directory)}.filling`);
  await rm(filling, { recursive: true, force: true });
  await mkdir(dirname(directory), { recursive: true });
  const registry = await open_registry({ data: filling });
  let hosts = 0;
  let count = 0;
  try {
    show(0, "publishing manifests");
    await Promise.all(demo_manifests(recordings, manifests).map((manifest) => registry.publish(manifest)));
    const fleet = demo_fleet(recordings, now_ms);
    hosts = fleet.length;
    const events = fleet
      .flatMap((host) => host.events)
      .sort((a, b) => Number(u64_to_bigint(a.time_unix_ms) - u64_to_bigint(b.time_unix_ms)));
    for (const batch of batches_of(events.map(encode_event))) {
      await registry.ingest(encode_batch(batch));
      count += batch.length;
      show(count / events.length, `${count} events of ${hosts} hosts`);
    }
  } finally {
    await registry.close();
  }
  await rename(filling, directory);
  return { hosts, events: count };
}
