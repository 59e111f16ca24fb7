/** A patch is named by its module, and the kernel writes a module's name with `_` where its file may have `-`. */

/** For names that people and build systems write: manifests and candidates. Events carry the kernel's own form. */
export function kernel_form(name: string): string {
  return name.replaceAll("-", "_");
}
