/**
 * Damage to files that are made from a log. It is not undone: who needs what they had makes them again, and finds that
 * there is a reason to.
 */
import type { Dice } from "./dice.js";
import type { SimulatedDirectory } from "./simulated_directory.js";
import { SECTOR_BYTES, SimulatedFile } from "./simulated_file.js";

export const DERIVED_DAMAGE_KINDS = ["bit flipped", "zeroed", "unreadable", "cut", "removed"] as const;
export type DerivedDamageKind = (typeof DERIVED_DAMAGE_KINDS)[number];

/** Null: nothing was changed. */
export function spoil_derived(
  directory: SimulatedDirectory,
  name: string,
  dice: Dice,
): DerivedDamageKind | null {
  const file = directory.find(name);
  const kind = dice.pick(DERIVED_DAMAGE_KINDS);
  if (kind === "removed") {
    directory.damage(name, null);
    return kind;
  }
  if (!(file instanceof SimulatedFile) || file.length === 0) return null;
  // The header is short, and as telling as the body; most of an image is zeros.
  const draw = () => dice.below(dice.chance(0.3) ? Math.min(file.length, 200) : file.length);
  let at = draw();
  for (let tries = 30; kind === "zeroed" && tries > 0 && file.bytes()[at] === 0; tries--) at = draw();
  const sector = Math.floor(at / SECTOR_BYTES);
  if (kind === "unreadable") {
    file.unreadable.add(sector);
    return kind;
  }
  if (kind === "cut") {
    file.damage((bytes) => bytes.slice(0, at));
    return kind;
  }
  const from = sector * SECTOR_BYTES;
  const before = file.bytes().slice(from, from + SECTOR_BYTES);
  const bit = 1 << dice.below(8);
  file.damage((bytes) => {
    if (kind === "zeroed") bytes.fill(0, from, from + SECTOR_BYTES);
    else bytes[at]! ^= bit;
    return bytes;
  });
  return Buffer.from(before).equals(file.bytes().subarray(from, from + SECTOR_BYTES)) ? null : kind;
}
