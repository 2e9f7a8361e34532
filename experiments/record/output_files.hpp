#pragma once

#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

// What a command may write its results over: nothing but earlier results of the same kind. Each check throws UsageError
// led by `option`, before anything is computed.
namespace scalevec::experiments {

// A kind of result: what it is called, and whether a file of this text is one.
struct ResultKind {
  std::string name;
  std::function<bool(std::string_view text)> is_one;
};

// A page that this program wrote.
ResultKind page_kind();
// A JSON object with these keys.
ResultKind json_kind(std::string name, std::initializer_list<const char*> keys);

// Refuses a folder, the name of a file that this program reads (compare.json, config.json, metrics.jsonl and their
// like), a file in a folder that is not there or may not be written to, and a file that is there and not of `kind`.
void check_output_file(const std::filesystem::path& file, std::string_view option, const ResultKind& kind);

// Refuses a file, and a folder that holds a run, a comparison, a model or tokens. Makes the folder.
void check_output_folder(const std::filesystem::path& folder, std::string_view option);

}  // namespace scalevec::experiments
