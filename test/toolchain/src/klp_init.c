/* As scripts/livepatch/init.c of the kernel: klp_patch is made from the objects when the module is loaded. */
#include "livepatch.h"

static struct klp_patch *patch;

int init_module(void)
{
	patch = kzalloc(sizeof(*patch));
	patch->mod = THIS_MODULE;
	patch->objs = kzalloc(sizeof(struct klp_object) * 3);
	patch->replace = 1;
	return klp_enable_patch(patch);
}
void cleanup_module(void) { }
