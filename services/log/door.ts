/**
 * The owner's door: the Unix socket DIR/registry.sock, through which commands on a directory ask the process that has
 * it. A socket's path is cut silently at 107 bytes, so it is named through a descriptor of the directory, always short.
 */
import { closeSync, constants, openSync } from "node:fs";

export const SOCKET_NAME = "registry.sock";

export interface Door {
  /** For listening and connecting, in this process, until `close`. */
  readonly path: string;
  close(): void;
}

/** Throws Node's error where the directory cannot be opened. */
export function open_door(directory: string): Door {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  return { path: `/proc/self/fd/${fd}/${SOCKET_NAME}`, close: () => closeSync(fd) };
}
