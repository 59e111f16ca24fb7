/** Module files as distributions ship them: as they are, or compressed by gzip, xz or zstd. Told by their bytes. */
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { bad_module } from "./bad_module.js";
import { memory_source, open_file, type Source } from "./source.js";

const COMPRESSED_BYTES_MAX = 64 * 1024 ** 2;
/** In memory. Modules are compressed without their debugging information. */
const MODULE_BYTES_MAX = 128 * 1024 ** 2;
/** From where zstd's decoder makes no progress and does not say so: the file is damaged. */
const EMPTY_PARTS_MAX = 64;

const DECOMPRESS = [
  { name: "gzip", begins: [0x1f, 0x8b], decompress: gunzip_bounded },
  { name: "xz", begins: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], decompress: unxz_bounded },
  { name: "zstd", begins: [0x28, 0xb5, 0x2f, 0xfd], decompress: unzstd_bounded },
];
const BEGINNING_BYTES = 6;

/** Gives `use` the module's bytes, which are gone afterwards. Throws Problem, or what `use` throws. */
export async function with_module_bytes<Result>(
  path: string,
  use: (source: Source) => Result,
): Promise<Result> {
  const file = open_file(path);
  try {
    const beginning = file.read(0, Math.min(BEGINNING_BYTES, file.size));
    const compression = DECOMPRESS.find(({ begins }) => begins.every((byte, at) => beginning[at] === byte));
    if (compression === undefined) return use(file);
    if (file.size > COMPRESSED_BYTES_MAX)
      throw bad_module(`has ${file.size} compressed bytes`, `at most ${COMPRESSED_BYTES_MAX}`);
    return use(memory_source(await decompressed(compression, file.read(0, file.size))));
  } finally {
    file.close();
  }
}

async function decompressed(
  { name, decompress }: (typeof DECOMPRESS)[number],
  bytes: Buffer,
): Promise<Buffer> {
  let module: Buffer | null;
  try {
    module = await decompress(bytes);
  } catch (error) {
    throw bad_module(`is damaged or cut off: ${name} says ${(error as Error).message}`);
  }
  if (module === null)
    throw bad_module(`is a ${name} file of more than a module`, `at most ${MODULE_BYTES_MAX} bytes`);
  return module;
}

/** Null, as of those below: it is more than MODULE_BYTES_MAX. */
async function gunzip_bounded(bytes: Buffer): Promise<Buffer | null> {
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: MODULE_BYTES_MAX });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") return null;
    throw error;
  }
}

async function unxz_bounded(bytes: Buffer): Promise<Buffer | null> {
  const { XzReadableStream } = (await import("xz-decompress")).default;
  const compressed = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(bytes);
      controller.close();
    },
  });
  const parts = new Parts();
  // Leaving the loop ends the decoder.
  for await (const part of new XzReadableStream(compressed)) if (!parts.add(part)) return null;
  return parts.joined();
}

async function unzstd_bounded(bytes: Buffer): Promise<Buffer | null> {
  const { ZSTDDecoder } = await import("zstddec/stream");
  const decoder = new ZSTDDecoder();
  await decoder.init();
  const parts = new Parts();
  let empty = 0;
  for (const part of decoder.decodeStreaming([bytes])) {
    empty = part.length === 0 ? empty + 1 : 0;
    if (empty > EMPTY_PARTS_MAX) throw new Error("no progress");
    if (!parts.add(part)) return null;
  }
  return parts.joined();
}

class Parts {
  #parts: Uint8Array[] = [];
  #bytes = 0;

  /** False: it is more than MODULE_BYTES_MAX. */
  add(part: Uint8Array): boolean {
    this.#bytes += part.length;
    // A decoder may use its memory again.
    this.#parts.push(part.slice());
    return this.#bytes <= MODULE_BYTES_MAX;
  }

  joined(): Buffer {
    return Buffer.concat(this.#parts, this.#bytes);
  }
}
