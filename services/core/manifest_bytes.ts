/** A manifest as the core takes it; core-wasm/assembly/catalog.ts has the layout. */
import type { CoreManifest } from "./core.js";

const to_utf8 = new TextEncoder();

/** `input` gives as many bytes as are asked for. */
export function write_manifest(manifest: CoreManifest, input: (length: number) => Uint8Array): void {
  const texts: Uint8Array[] = [manifest.name, manifest.kernel_release, manifest.arch].map((text) =>
    to_utf8.encode(text),
  );
  texts.push(manifest.build_id);
  const states_at = (24 + texts.reduce((sum, text) => sum + text.length, 0) + 7) & ~7;
  const bytes = input(states_at + manifest.states.length * 16);
  bytes.fill(0);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const flags =
    (manifest.replace ? 1 : 0) |
    (manifest.states_unknown ? 2 : 0) |
    (manifest.irreversible ? 4 : 0) |
    (manifest.signed ? 8 : 0);
  view.setUint32(0, flags, true);
  let at = 24;
  texts.forEach((text, i) => {
    view.setUint32(4 + i * 4, text.length, true);
    bytes.set(text, at);
    at += text.length;
  });
  view.setUint32(20, manifest.states.length, true);
  manifest.states.forEach((state, i) => {
    view.setBigUint64(states_at + i * 16, state.id, true);
    view.setUint32(states_at + i * 16 + 8, state.version, true);
  });
}
