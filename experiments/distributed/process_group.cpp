#include "experiments/distributed/process_group.hpp"

#include <torch/types.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "experiments/distributed/backends.hpp"
#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

using Milliseconds = std::chrono::milliseconds;

std::string first_line(const char* text) { return std::string(text).substr(0, std::string(text).find('\n')); }

std::vector<uint8_t> bytes_of(const std::string& text) { return {text.begin(), text.end()}; }

// LibTorch logs a lost connection with stack traces; what the user needs of it is in the line of our own error.
void silence_store() {
  if (!std::getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = c10::GLOG_FATAL;
}

std::string cannot_reach(const Rendezvous& r, double seconds, const std::string& why) {
  return "rank " + std::to_string(r.rank) + " cannot reach rank 0 at " + r.address + " port " + std::to_string(r.port) +
         " within " + std::to_string(static_cast<int>(seconds)) + " s (" + why + ")";
}

// Ends the process with a line where it lives longer than so many seconds. LibTorch's store waits for ever for an
// answer of a rank 0 that is stopped, and begins its time-out anew where a connection breaks.
class MeetingDeadline {
 public:
  MeetingDeadline(double seconds, std::string words)
      : thread_([this, seconds, words = std::move(words)] {
          std::unique_lock lock(mutex_);
          if (over_now_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return over_; })) return;
          std::fprintf(stderr, "scalevec: %s\n", words.c_str());
          std::fflush(stderr);
          ::_exit(1);
        }) {}
  ~MeetingDeadline() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    over_now_.notify_one();
    thread_.join();
  }
  MeetingDeadline(const MeetingDeadline&) = delete;
  MeetingDeadline& operator=(const MeetingDeadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable over_now_;
  bool over_ = false;
  std::thread thread_;  // last: it uses the others
};

std::string get(c10d::Store& store, const std::string& key) {
  const std::vector<uint8_t> value = store.get(key);
  return {value.begin(), value.end()};
}

c10::intrusive_ptr<c10d::Store> open_store(const Rendezvous& r, Milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(r.port);
  options.isServer = r.serves;
  options.waitWorkers = false;
  options.timeout = timeout;
  const std::string where = r.address + " port " + std::to_string(r.port);
  try {
    auto store = c10::make_intrusive<c10d::TCPStore>(r.address, options);
    return c10::make_intrusive<c10d::PrefixStore>(r.prefix, store);
  } catch (const std::exception& e) {
    if (r.serves)
      throw RunError("rank 0 cannot serve the other ranks at " + where + " (" + first_line(e.what()) +
                     "); allowed: another MASTER_PORT");
    throw RunError(cannot_reach(r, static_cast<double>(timeout.count()) / 1000.0, first_line(e.what())));
  }
}

// Calls the store. RunError of these words if it does not answer, or not in time.
template <class Call>
auto asked(const Call& call, const std::string& otherwise) {
  try {
    return call();
  } catch (const std::exception&) {
    throw RunError(otherwise);
  }
}

std::string key_of(int rank) { return "here/" + std::to_string(rank); }

// Connects to rank 0's watch and says that this rank is here.
std::unique_ptr<RankWatch> meet_first(const Rendezvous& r, c10d::Store& store, const RankWatch::Options& options,
                                      const std::string& identity, std::unique_ptr<MeetingDeadline> deadline) {
  const std::string where = r.address + " port " + std::to_string(r.port);
  const std::string gone = "rank 0 at " + where + " ended before all ranks had met";
  asked([&] { store.wait({"watch"}); },
        "rank 0 did not come to " + where + " within " + std::to_string(static_cast<int>(options.timeout)) + " s");
  const auto told = [&](const char* key) { return asked([&] { return get(store, key); }, gone); };
  const auto tell = [&](const std::string& word) { asked([&] { store.set(key_of(r.rank), bytes_of(word)); }, gone); };
  const std::string size = told("size");
  std::string refusal;
  if (size != std::to_string(r.size))
    refusal = "rank " + std::to_string(r.rank) + " was told of " + std::to_string(r.size) +
              " processes and rank 0 of " + size + "; allowed: one size";
  else if (told("identity") != identity)
    refusal = "rank " + std::to_string(r.rank) +
              " was given another configuration or other data than rank 0; allowed: the same";
  if (!refusal.empty()) {
    tell(refusal);
    throw UsageError(refusal);
  }
  auto watch = std::make_unique<RankWatch>(options, r.address, std::stoi(told("watch")));
  deadline.reset();  // from here on the watch sees a rank 0 that is gone or stopped
  tell("1");
  asked([&] { store.wait({"all"}, Milliseconds(static_cast<std::int64_t>(2000 * options.timeout))); }, gone);
  return watch;
}

// Rank 0 opens its watch and waits for everyone's word; the others connect to it and give theirs.
std::unique_ptr<RankWatch> meet(const Rendezvous& r, c10d::Store& store, double timeout, const std::string& identity,
                                std::unique_ptr<MeetingDeadline> deadline) {
  const RankWatch::Options options{r.rank, r.size, timeout};
  const std::string seconds = std::to_string(static_cast<int>(timeout)) + " s";
  if (r.rank != 0) return meet_first(r, store, options, identity, std::move(deadline));
  auto watch = std::make_unique<RankWatch>(options);
  store.set("identity", bytes_of(identity));
  store.set("size", bytes_of(std::to_string(r.size)));
  store.set("watch", bytes_of(std::to_string(watch->port())));
  std::vector<std::string> others;
  for (int rank = 1; rank < r.size; ++rank) others.push_back(key_of(rank));
  try {
    store.wait(others, Milliseconds(static_cast<std::int64_t>(1000 * timeout)));
  } catch (const std::exception&) {
    std::string names;
    int missing = 0;
    for (int rank = 1; rank < r.size; ++rank)
      if (!store.check({key_of(rank)}) && ++missing <= 8) names += (names.empty() ? "" : ", ") + std::to_string(rank);
    if (missing > 8) names += " and " + std::to_string(missing - 8) + " more";
    throw RunError("of " + std::to_string(r.size) + " ranks, " + names + " did not come to " + r.address + " port " +
                   std::to_string(r.port) + " within " + seconds);
  }
  for (const std::string& other : others)
    if (const std::string word = get(store, other); word != "1") throw UsageError(word);
  store.set("all", bytes_of("1"));
  return watch;
}

}  // namespace

struct ProcessGroup::Impl {
  int rank, size;
  c10::intrusive_ptr<c10d::Store> store;
  std::unique_ptr<RankWatch> watch;
  c10::intrusive_ptr<c10d::Backend> host, device;  // device: undefined on the CPU

  // Gone before the backends are: their threads wait for collectives that another's failure ends.
  ~Impl() { watch.reset(); }

  const c10::intrusive_ptr<c10d::Backend>& backend(const torch::Tensor& tensor) {
    return tensor.device().is_cpu() ? host : device;
  }

  template <class Call>
  auto guarded(const Call& call) {
    try {
      return call();
    } catch (const std::exception& e) {
      watch->wait_for_verdict();
      throw RunError("rank " + std::to_string(rank) + ": a collective failed: " + first_line(e.what()));
    }
  }

  Pending pending(c10::intrusive_ptr<c10d::Work> work) {
    return [this, work = std::move(work)] { guarded([&] { return work->wait(); }); };
  }
};

ProcessGroup::ProcessGroup(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProcessGroup::~ProcessGroup() = default;
int ProcessGroup::rank() const { return impl_->rank; }
int ProcessGroup::size() const { return impl_->size; }
RankWatch& ProcessGroup::watch() { return *impl_->watch; }

std::shared_ptr<ProcessGroup> ProcessGroup::join(const Rendezvous& r, torch::Device device, double timeout,
                                                 const std::string& identity) {
  if (const std::string missing = gloo_missing(); !missing.empty()) throw UsageError(missing);
  if (const std::string missing = nccl_missing(); device.is_cuda() && !missing.empty()) throw UsageError(missing);
  const Milliseconds limit(static_cast<std::int64_t>(1000 * timeout));
  auto impl = std::make_unique<Impl>();
  impl->rank = r.rank;
  impl->size = r.size;
  silence_store();
  // A moment longer than the store's own limit, whose reason says more.
  constexpr double kMoment = 0.5;
  auto deadline = r.rank == 0 ? nullptr
                              : std::make_unique<MeetingDeadline>(timeout + kMoment,
                                                                  cannot_reach(r, timeout, "it does not answer"));
  impl->store = open_store(r, limit);
  impl->watch = meet(r, *impl->store, timeout, identity, std::move(deadline));
  // The watch sees a rank that is gone; the backends' own limit is for what it cannot see.
  const Milliseconds backend_limit = 10 * limit;
  impl->host = impl->guarded([&] {
    return make_gloo(c10::make_intrusive<c10d::PrefixStore>("gloo", impl->store), r.rank, r.size, r.address,
                     backend_limit);
  });
  if (device.is_cuda())
    impl->device = impl->guarded([&] {
      return make_nccl(c10::make_intrusive<c10d::PrefixStore>("nccl", impl->store), r.rank, r.size, backend_limit);
    });
  return std::shared_ptr<ProcessGroup>(new ProcessGroup(std::move(impl)));
}

ProcessGroup::Pending ProcessGroup::start_sum(torch::Tensor& tensor) {
  impl_->watch->at_collective();
  std::vector<torch::Tensor> one{tensor};
  return impl_->pending(impl_->guarded([&] { return impl_->backend(tensor)->allreduce(one); }));
}

ProcessGroup::Pending ProcessGroup::start_broadcast(torch::Tensor& tensor, int from) {
  impl_->watch->at_collective();
  std::vector<torch::Tensor> one{tensor};
  c10d::BroadcastOptions options;
  options.rootRank = from;
  return impl_->pending(impl_->guarded([&] { return impl_->backend(tensor)->broadcast(one, options); }));
}

void ProcessGroup::sum(std::span<double> values) {
  torch::Tensor tensor = torch::from_blob(values.data(), {static_cast<std::int64_t>(values.size())}, torch::kFloat64);
  start_sum(tensor)();
}

void ProcessGroup::send(torch::Tensor tensor, int to) {
  std::vector<torch::Tensor> one{tensor};
  impl_->guarded([&] { return impl_->host->send(one, to, 0)->wait(); });
}

void ProcessGroup::receive(torch::Tensor tensor, int from) {
  std::vector<torch::Tensor> one{tensor};
  impl_->guarded([&] { return impl_->host->recv(one, from, 0)->wait(); });
}

void ProcessGroup::finish() {
  double all = 1.0;
  sum({&all, 1});
  impl_->watch->finish();
}

}  // namespace scalevec::experiments
