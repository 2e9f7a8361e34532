#pragma once

namespace CLI {
class App;
}

namespace scalevec::experiments {

// `scalevec probe CONFIG --at STEPS --out FILE`: makes a run again and measures it on the way.
void add_probe_command(CLI::App& app);

}  // namespace scalevec::experiments
