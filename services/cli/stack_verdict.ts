/** What a kernel would say to a patch over a stack of others, from manifests alone: by the core, as for a host. */

import { identity_key } from "../catalog/manifests.js";
import { Core } from "../core/core.js";
import { load_core_module } from "../core/module.js";
import { encode_batch, type Manifest } from "../events/codec.js";
import { klpstate } from "../events/proto.js";
import type { HostVerdict } from "../registry/answers.js";
import { core_manifest } from "../registry/catalog_feed.js";
import { host_verdict } from "../registry/check_answers.js";

/** For each stack, oldest first and all of it enabled, on a host of its first patch's kernel: the candidate's verdict. */
export function verdicts_over(stacks: Manifest[][], candidate: Manifest): HostVerdict[] {
  const core = new Core(load_core_module(), { partition: null, partitions: 1 });
  const known = new Set<string>();
  for (const manifest of [...stacks.flat(), candidate]) {
    const key = identity_key(manifest);
    if (!known.has(key)) core.put_manifest(core_manifest(manifest));
    known.add(key);
  }
  const hosts = stacks.map((stack, at) => put_host(core, String(at), stack));
  const name = candidate.name ?? "";
  const build_id = candidate.build_id ?? new Uint8Array();
  const outcomes = core.check(name, build_id);
  const reference = { name, ...(build_id.length > 0 && { build_id: Buffer.from(build_id).toString("hex") }) };
  return hosts.map((host) => {
    const outcome = outcomes[core.outcome_of_host(host)]!;
    return host_verdict({ ...outcome, host_id: "", stale: false, uncertain: false }, reference);
  });
}

function put_host(core: Core, host_id: string, stack: Manifest[]): number {
  const { kernel_release, arch } = stack[0]!;
  const observed = {
    kernel_release: kernel_release ?? "",
    arch: arch ?? "",
    livepatching: klpstate.v1.Livepatching.SUPPORTED,
    stack: stack.map(({ name, build_id }) => ({
      patch: { name: name ?? "", ...(build_id?.length && { build_id }) },
      phase: klpstate.v1.Phase.ENABLED,
    })),
  };
  const record = encode_batch([{ host_id, stream: 1, sequence: 1, time_unix_ms: 1, observed }]);
  core.fold_record(record, { offset: core.next_offset, index: 0 }, 1);
  const host = core.find_host(host_id);
  if (host === null) throw new Error("the core does not take a stack of patches");
  return host;
}
