/* A builder that nobody knows: klp_patch is made when the module is loaded, from nothing that can be told. */
#include "livepatch.h"

int init_module(void)
{
	struct klp_patch *patch = kzalloc(sizeof(*patch));
	patch->mod = THIS_MODULE;
	return klp_enable_patch(patch);
}
void cleanup_module(void) { }
