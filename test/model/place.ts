/** A registry's place as a test needs it: its cores are the built one's. */
import { MEMORY_BYTES_MAX } from "#services/core/core.js";
import { core_sha256 } from "#services/core/module.js";
import type { RegistryPlace } from "#services/registry/partition_place.js";
import { core_module } from "./from_core.js";

export function place_in(
  directory: string,
  partition_count: number,
  memory_bytes_max = MEMORY_BYTES_MAX,
): RegistryPlace {
  return {
    directory,
    registry_id: "00000000-0000-4000-8000-000000000007",
    partition_count,
    replica: false,
    module: core_module,
    core_sha256: core_sha256(),
    memory_bytes_max,
  };
}
