import { expect, test } from "vitest";
import { replay_by_audit } from "#services/cli/replay_by_audit.js";
import { FakeRegistry } from "../api/fake_registry.js";

test.each([
  [{ partition: 2, to: null }, "partition", "0 to 1"],
  [{ partition: 1, to: 8n }, "to", "0 to 7"],
])("a replay of what is not there is refused, with what is: %o", async (question, field, limit) => {
  const refused = replay_by_audit(new FakeRegistry(), question, () => {});
  await expect(refused).rejects.toMatchObject({ code: "bad_input", parts: { field, limit } });
});

test("an offset beyond the log names the log's next one", async () => {
  const refused = replay_by_audit(new FakeRegistry(), { partition: 0, to: 9n }, () => {});
  await expect(refused).rejects.toThrow("its next offset is 7");
});
