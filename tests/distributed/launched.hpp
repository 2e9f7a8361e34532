#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

// Processes as a launcher starts them, with their outputs in files.
namespace launched {

namespace fs = std::filesystem;

struct Folder {
  fs::path path;
  explicit Folder(const std::string& name)
      : path(fs::temp_directory_path() / (name + "-" + std::to_string(::getpid()))) {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
};

inline std::string content(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file, std::ios::binary).rdbuf();
  return text.str();
}

inline std::vector<nlohmann::json> json_lines(const fs::path& file) {
  std::vector<nlohmann::json> out;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) out.push_back(nlohmann::json::parse(line));
  return out;
}

// One that was free a moment ago.
inline int free_port() {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ::bind(fd, reinterpret_cast<sockaddr*>(&address), length);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  ::close(fd);
  return ntohs(address.sin_port);
}

// Runs the body in a child whose stdout and stderr go to files of that name.
inline pid_t start(const fs::path& output, const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  for (const auto& [fd, suffix] : {std::pair(1, ".out"), std::pair(2, ".err")}) {
    const int file = ::open((output.string() + suffix).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ::dup2(file, fd);
    ::close(file);
  }
  ::_exit(body());
}

inline int finish(pid_t child) {
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

using Variables = std::vector<std::pair<std::string, std::string>>;

// `scalevec ARGS…` with these variables besides the test's own.
inline pid_t start_program(const fs::path& output, const std::vector<std::string>& args, const Variables& variables) {
  return start(output, [&] {
    for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
    std::vector<char*> argv{const_cast<char*>(SCALEVEC_PROGRAM)};
    for (const auto& a : args) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    ::execv(SCALEVEC_PROGRAM, argv.data());
    return 127;
  });
}

// The ranks of one run, by torchrun's variables and without its store.
struct Ranks {
  fs::path folder;
  std::vector<pid_t> pids;

  Ranks(const fs::path& folder, int size, const std::vector<std::string>& args) : folder(folder) {
    const std::string port = std::to_string(free_port());
    for (int rank = 0; rank < size; ++rank) {
      const std::string own = std::to_string(rank), all = std::to_string(size);
      pids.push_back(start_program(folder / ("rank" + own), args,
                                   {{"RANK", own},
                                    {"WORLD_SIZE", all},
                                    {"LOCAL_RANK", own},
                                    {"LOCAL_WORLD_SIZE", all},
                                    {"MASTER_ADDR", "127.0.0.1"},
                                    {"MASTER_PORT", port}}));
    }
  }
  std::vector<int> finish() {
    std::vector<int> out;
    for (const pid_t pid : pids) out.push_back(launched::finish(pid));
    return out;
  }
  std::string errors(int rank) const { return content(folder / ("rank" + std::to_string(rank) + ".err")); }
  std::string output(int rank) const { return content(folder / ("rank" + std::to_string(rank) + ".out")); }
};

// Returns false after a minute.
inline bool wait_until(const std::function<bool()>& done) {
  for (int i = 0; i < 6000; ++i) {
    if (done()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

}  // namespace launched
