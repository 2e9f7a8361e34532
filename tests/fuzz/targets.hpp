#pragma once

#include <filesystem>
#include <string_view>

// What the fuzzers feed: one function per reader of files that come from outside. Each takes the bytes of a file, lets
// the reader refuse them the way it should, and throws, aborts or hangs on anything else. The replay test feeds them
// the committed corpora; with Clang's libFuzzer (preset "fuzz") each is a fuzzer of its own.
namespace scalevec::fuzz {

void run_config(std::string_view bytes);
void policy(std::string_view bytes);
void grid(std::string_view bytes);
void token_file(std::string_view bytes);
void safetensors(std::string_view bytes);
void record(std::string_view bytes);
void json_lines(std::string_view bytes);
void run_record(std::string_view bytes);
void hugging_face(std::string_view bytes);
void tokenizer(std::string_view bytes);
void shard_index(std::string_view bytes);
void name_table(std::string_view bytes);

// A file that holds `bytes` while the object lives, in memory where the system has a file system there.
class InputFile {
 public:
  explicit InputFile(std::string_view bytes, const char* extension);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// A folder with one file that holds `bytes`; removed with all that is in it.
class InputFolder {
 public:
  InputFolder(const char* name, std::string_view bytes);
  ~InputFolder();
  InputFolder(const InputFolder&) = delete;
  InputFolder& operator=(const InputFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Ends the process with the two sides shown: a property that does not hold.
void require(bool holds, const char* what);

}  // namespace scalevec::fuzz
