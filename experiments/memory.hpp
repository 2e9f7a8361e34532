#pragma once

namespace scalevec {

// Activation memory is freed and asked for again every step. From here on the process keeps what it frees, in one heap,
// on huge pages where the kernel offers them: giving it back costs tens of thousands of page faults a step. Call it
// before the first large allocation. A process with a limit on its address space keeps small pages.
void keep_freed_memory();

}  // namespace scalevec
