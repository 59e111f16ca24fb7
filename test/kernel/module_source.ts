/** The C of the modules that are built. */
import { GATE, type PatchSpec } from "./patches.js";

/** A thread that sleeps in a function which nobody can replace under it, for as long as the gate is shut. */
export const GATE_SOURCE = `
#include <linux/err.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/wait.h>

static DECLARE_WAIT_QUEUE_HEAD(changed);
static int shut;
static struct task_struct *thread;

static int set_shut(const char *text, const struct kernel_param *parameter)
{
	int error = param_set_int(text, parameter);

	wake_up_all(&changed);
	return error;
}
static const struct kernel_param_ops shut_ops = { .set = set_shut, .get = param_get_int };
module_param_cb(shut, &shut_ops, &shut, 0644);

/* Called by the function and by its replacements. */
void kt_wait_at_gate(void);
noinline void kt_wait_at_gate(void)
{
	wait_event_idle(changed, !READ_ONCE(shut) || kthread_should_stop());
	/* Not the last statement: a tail call would leave the caller's frame off the stack. */
	barrier();
}
EXPORT_SYMBOL_GPL(kt_wait_at_gate);

int kt_pass_gate(void);
noinline int kt_pass_gate(void)
{
	kt_wait_at_gate();
	barrier();
	return READ_ONCE(shut);
}

static int pass_again(void *unused)
{
	while (!kthread_should_stop()) {
		kt_pass_gate();
		wait_event_idle(changed, READ_ONCE(shut) || kthread_should_stop());
	}
	return 0;
}

static int __init gate_init(void)
{
	thread = kthread_run(pass_again, NULL, "kt_gate");
	return PTR_ERR_OR_ZERO(thread);
}

static void __exit gate_exit(void)
{
	kthread_stop(thread);
}
module_init(gate_init);
module_exit(gate_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("A thread that sleeps in a function, for tests of livepatches");
`;

const REPLACEMENT = {
  cmdline: { object: null, function: "cmdline_proc_show" },
  gate: { object: GATE, function: "kt_pass_gate" },
  missing_symbol: { object: null, function: "kt_no_such_function" },
  nothing: null,
};

export function patch_source(spec: PatchSpec): string {
  const replacement = REPLACEMENT[spec.patches];
  const callbacks =
    spec.callback_ms === undefined
      ? ""
      : `
static int before_patching(struct klp_object *object)
{
	msleep(${spec.callback_ms});
	return ${spec.pre_patch_errno === undefined ? 0 : `-${spec.pre_patch_errno}`};
}
static void at_other_times(struct klp_object *object)
{
	msleep(${spec.callback_ms});
}
`;
  const states =
    spec.states === null
      ? ""
      : `
static struct klp_state states[] = {
${spec.states.map(([id, version]) => `	{ .id = ${id}UL, .version = ${version}U },\n`).join("")}	{ }
};
`;
  return `
#include <linux/delay.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>
${function_source(spec)}${callbacks}${states}
static struct klp_func functions[] = {
${replacement === null ? "" : `	{ .old_name = "${replacement.function}", .new_func = replacement },\n`}	{ }
};
static struct klp_object objects[] = {
${
  replacement === null
    ? ""
    : `	{
		.funcs = functions,
${replacement.object === null ? "" : `		.name = "${replacement.object}",\n`}${
  callbacks === ""
    ? ""
    : `		.callbacks = {
			.pre_patch = before_patching,
			.post_patch = at_other_times,
			.pre_unpatch = at_other_times,
			.post_unpatch = at_other_times,
		},
`
}	},
`
}	{ }
};
static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = ${replacement === null ? "NULL" : "objects"},
${states === "" ? "" : "	.states = states,\n"}	.replace = ${spec.replace},
};

static int __init patch_init(void)
{
	return klp_enable_patch(&patch);
}

static void __exit patch_exit(void)
{
}
module_init(patch_init);
module_exit(patch_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("${spec.name}, for tests of livepatches");
${spec.is_unmarked ? "" : 'MODULE_INFO(livepatch, "Y");\n'}`;
}

function function_source({ name, patches }: PatchSpec): string {
  if (patches === "nothing") return "";
  if (patches === "gate")
    return `
void kt_wait_at_gate(void);
static noinline int replacement(void)
{
	kt_wait_at_gate();
	barrier();
	return 0;
}
`;
  return `
static int replacement(struct seq_file *file, void *unused)
{
	seq_puts(file, "${name}\\n");
	return 0;
}
`;
}
