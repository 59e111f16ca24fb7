/** Texts come out of the core as they went in, byte for byte. */
import { expect, test } from "vitest";
import { fold_log, log_of, new_core, observed } from "./fleet.js";

const TEXTS = ["\ufeffp", "é", "e\u0301", "𝒽", "p\ufeff", "\ufffd", "\u00a0", "ﬁ", "İ"];

test.each(TEXTS)("%j as a host, a kernel and a patch", (text) => {
  const core = new_core();
  fold_log(
    core,
    log_of([observed(text, { kernel_release: text, stack: [text], lingering: [`${text}2`] })], 1),
  );
  const facts = core.host(core.find_host(text)!);
  expect(facts.host_id).toBe(text);
  const { kernel_release, stack, lingering } = core.configuration(facts.configuration);
  expect([kernel_release, stack[0]!.name, lingering[0]!.name]).toEqual([text, text, `${text}2`]);
});

test("hosts whose ids look alike are different hosts", () => {
  const core = new_core();
  fold_log(
    core,
    log_of(
      ["p", "\ufeffp", "p\u200b", "P", "p "].map((host_id) => observed(host_id)),
      2,
    ),
  );
  expect(core.host_count).toBe(5);
  expect(core.find_host("\u200bp")).toBeNull();
});
