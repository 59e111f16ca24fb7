/* What modpost adds to every module. */
#include "livepatch.h"

struct module __this_module __attribute__((section(".gnu.linkonce.this_module"))) = {
	.init = init_module,
	.exit = cleanup_module,
};
MODULE_INFO(livepatch, "Y");
MODULE_INFO(name, "built");
MODULE_INFO(vermagic, "6.12.117+deb12-cloud-amd64 SMP preempt mod_unload modversions ");
