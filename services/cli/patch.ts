/** `klpstate patch`: the catalog, with one file for each of its commands. */
import type { Command } from "commander";
import type { Session } from "./command.js";
import { add_patch_add_command } from "./patch_add.js";
import { add_patch_compare_command } from "./patch_compare.js";
import { add_patch_lint_command } from "./patch_lint.js";
import { add_patch_list_command } from "./patch_list.js";
import { add_patch_read_command } from "./patch_read.js";
import { add_patch_show_command } from "./patch_show.js";
import { add_patch_withdraw_command } from "./patch_withdraw.js";

export function add_patch_commands(program: Command, session: Session): void {
  const patch = program.command("patch").description("the catalog: what livepatches are");
  add_patch_read_command(patch, session);
  add_patch_add_command(patch, session);
  add_patch_list_command(patch, session);
  add_patch_show_command(patch, session);
  add_patch_withdraw_command(patch, session);
  add_patch_compare_command(patch, session);
  add_patch_lint_command(patch, session);
}
