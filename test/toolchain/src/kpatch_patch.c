/* As kpatch-build's livepatch-patch-hook.c: klp_patch is made from the tables when the module is loaded. */
#include "livepatch.h"

static int new_first(void) { return 1; }
static int new_third(void) { return 3; }
static int pre_patch(void *object) { return object != NULL; }

static struct kpatch_patch_func funcs[] __attribute__((section(".kpatch.funcs"), used)) = {
	{ .new_addr = (ulong)new_first, .new_size = 6, .old_size = 6, .sympos = 1, .name = "first", .objname = "vmlinux" },
	{ .new_addr = (ulong)new_third, .new_size = 6, .old_size = 6, .name = "third", .objname = "ext4" },
};
static struct kpatch_pre_patch_callback callback __attribute__((section(".kpatch.callbacks.pre_patch"), used)) = {
	.callback = pre_patch, .objname = "ext4",
};
static struct klp_patch *patch;

int init_module(void)
{
	patch = kzalloc(sizeof(*patch));
	patch->mod = THIS_MODULE;
	patch->replace = 1;
	patch->objs = kzalloc(sizeof(struct klp_object) * (1 + sizeof(funcs) / sizeof(*funcs)));
	return klp_enable_patch(patch);
}
void cleanup_module(void) { }
