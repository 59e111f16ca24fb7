// The counters of the fold that a snapshot has beside its pages: WebAssembly's globals lie in no memory. Each module
// names its own once, for both ways: `count = kept(count)` saves it, or gives back what was saved.

let at: usize = 0;
let restoring: bool = false;

export function begin_keeping(block: usize, restore: bool): void {
  at = block;
  restoring = restore;
}

/** Where the block ends by now. */
export function kept_to(): usize {
  return at;
}

export function kept(value: u64): u64 {
  if (restoring) value = load<u64>(at);
  else store<u64>(at, value);
  at += 8;
  return value;
}
