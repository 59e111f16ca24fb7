/**
 * The signature that is appended to a module file: `struct module_signature` of include/linux/module_signature.h behind
 * a PKCS#7 message (RFC 2315), and a line of text behind both. It is described, never verified: which keys a host's
 * kernel has is not in the file.
 */
import type { klpstate } from "../../events/proto.js";
import {
  context,
  context_primitive,
  INTEGER,
  identifier,
  inside,
  SEQUENCE,
  SET,
  type Value,
  values_of,
} from "./der.js";
import type { Source } from "./source.js";

export type Signature = klpstate.v1.Signature.$Properties;

const MARK = "~Module signature appended~\n";
const INFORMATION_BYTES = 12;
const PKEY_ID_PKCS7 = 2;
/** A message with a certificate has a few KiB. */
const MESSAGE_BYTES_MAX = 1024 * 1024;
const SIGNED_DATA = "1.2.840.113549.1.7.2";
const COMMON_NAME = "2.5.4.3";
const DIGESTS = new Map([
  ["1.3.14.3.2.26", "sha1"],
  ["2.16.840.1.101.3.4.2.1", "sha256"],
  ["2.16.840.1.101.3.4.2.2", "sha384"],
  ["2.16.840.1.101.3.4.2.3", "sha512"],
  ["2.16.840.1.101.3.4.2.4", "sha224"],
  ["2.16.840.1.101.3.4.2.8", "sha3-256"],
  ["2.16.840.1.101.3.4.2.9", "sha3-384"],
  ["2.16.840.1.101.3.4.2.10", "sha3-512"],
]);

/** What cannot be read of a signature that is there is left out. */
export function read_signature(source: Source): Signature {
  const tail_bytes = INFORMATION_BYTES + MARK.length;
  if (source.size < tail_bytes) return {};
  const tail = source.read(source.size - tail_bytes, tail_bytes);
  if (tail.toString("latin1", INFORMATION_BYTES) !== MARK) return {};
  const message_bytes = tail.readUInt32BE(8);
  const room = source.size - tail_bytes;
  if (tail[2] !== PKEY_ID_PKCS7 || message_bytes > Math.min(room, MESSAGE_BYTES_MAX))
    return { present: true };
  const message = source.read(room - message_bytes, message_bytes);
  return { present: true, ...described(message) };
}

/** From the first signer, as modinfo does. */
function described(message: Buffer): Signature {
  const content = inside(values_of(message)?.[0], SEQUENCE);
  if (identifier(content?.[0]) !== SIGNED_DATA) return {};
  const signed_data = inside(inside(content?.[1], context(0))?.[0], SEQUENCE);
  const signer_infos = signed_data?.findLast(({ tag }) => tag === SET);
  const [, signer_id, algorithm] = inside(inside(signer_infos, SET)?.[0], SEQUENCE) ?? [];
  const signer = signer_of(signer_id);
  const oid = identifier(inside(algorithm, SEQUENCE)?.[0]);
  const digest = oid === null ? null : (DIGESTS.get(oid) ?? oid);
  return { ...(signer !== null && { signer }), ...(digest !== null && { digest }) };
}

/** The issuer's common name, and the serial number or key identifier in hex where there is none. */
function signer_of(signer_id: Value | undefined): string | null {
  if (signer_id?.tag === context_primitive(0)) return signer_id.content.toString("hex", 0, 64);
  const [issuer, serial] = inside(signer_id, SEQUENCE) ?? [];
  for (const relative of inside(issuer, SEQUENCE) ?? []) {
    for (const attribute of inside(relative, SET) ?? []) {
      const [type, value] = inside(attribute, SEQUENCE) ?? [];
      const text = identifier(type) === COMMON_NAME ? value?.content.toString("utf8", 0, 255) : undefined;
      if (text && !/[\p{Cc}\ufffd]/u.test(text)) return text;
    }
  }
  return serial?.tag === INTEGER ? serial.content.toString("hex", 0, 64) : null;
}
