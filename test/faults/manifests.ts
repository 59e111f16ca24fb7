/** The patches that hosts load, and what the catalog says of them. */

export const KERNELS = [
  { kernel_release: "6.12.1", arch: "x86_64" },
  { kernel_release: "6.12.1", arch: "arm64" },
  { kernel_release: "6.1.0", arch: "x86_64" },
] as const;

interface PatchOfTest {
  name: string;
  replace: boolean;
  states: readonly { id: string; version: number }[];
}

export const PATCHES: readonly PatchOfTest[] = [
  { name: "kp_1", replace: false, states: [{ id: "1", version: 1 }] },
  { name: "kp_2", replace: false, states: [{ id: "1", version: 2 }] },
  {
    name: "kp_3",
    replace: true,
    states: [
      { id: "1", version: 2 },
      { id: "2", version: 1 },
    ],
  },
  { name: "kp_4", replace: true, states: [] },
  { name: "kp_5", replace: false, states: [{ id: "3", version: 7 }] },
];

export type ManifestDocument = PatchOfTest & (typeof KERNELS)[number];

/** One for each patch and kernel. */
export function manifests(): ManifestDocument[] {
  return PATCHES.flatMap((patch) => KERNELS.map((kernel) => ({ ...patch, ...kernel })));
}

/** Of a patch that no host ever loads. */
export function other_manifest(number: number): ManifestDocument {
  return { name: `other_${number}`, replace: false, states: [], ...KERNELS[0] };
}
