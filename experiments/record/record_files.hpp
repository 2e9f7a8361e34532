#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

// Reading the folders of runs that may be incomplete.
namespace scalevec::experiments {

// The content of a file. Throws RunError.
std::string read_whole(const std::filesystem::path& file);

// The JSON of a file. Empty if the file is missing or is not complete JSON, as a killed run may leave it.
std::optional<nlohmann::json> read_json_if_whole(const std::filesystem::path& file);

// A file that write_record() made, without its checksum; empty if the file is missing. RunError naming the
// file if it is damaged. One without a checksum is taken, and said to be so.
std::optional<nlohmann::json> read_record(const std::filesystem::path& file);

// read_record(), but a damaged file is empty as well.
std::optional<nlohmann::json> read_record_if_sound(const std::filesystem::path& file);

// The running checksum that the first line of a run's log continues: of the name of the log and of the run's
// config.json, so that a log of another run does not fit.
std::string log_seed(const std::filesystem::path& log);

// What a log holds up to its last whole line.
struct LogLines {
  std::vector<std::string> lines;      // with their checksums
  std::vector<std::string> checksums;  // the running checksum after each line
};

// A missing file reads as no lines and a torn last line is left out. RunError for a line that is not JSON or whose
// checksum does not continue that of the line before; lines of older versions without one are taken, and said to be so.
// Reads no further than the line after which the running checksum is `until`, if that is given.
LogLines read_log(const std::filesystem::path& file, std::string_view until = {});

// The lines of read_log() as objects without their checksums.
std::vector<nlohmann::json> read_json_lines(const std::filesystem::path& file);

// What is wrong with a run's logs, by themselves and by what its summary says of their ends, or with its policy.json by
// the checksum that the summary has of it; empty if nothing is. Of a run that is not finished, the newest checkpoint
// says where its part of the logs ends.
std::string damage_of_run(const std::filesystem::path& run, const nlohmann::json& summary);

// For a command that makes a run again from its config.json: RunError if that is damage_of_run(), or if the run was
// trained on data of another hash. Passes a configuration that lies in no run's folder.
void check_config_of_run(const std::filesystem::path& config, std::string_view data_hash);

// Whether a file of this name may lie in any folder of ours: hidden, or what a launcher writes (.log, .txt, .out,
// .err).
bool is_side_file(const std::filesystem::path& name);

// In a checkpoint, the weights to validate and to keep where a run trains at others.
inline constexpr const char* kAverageWeights = "average.safetensors";

// The checkpoint folders of a run, by their steps: step-NNNNNNNN, oldest first.
std::vector<std::filesystem::path> checkpoint_folders(const std::filesystem::path& run);

// The state.json of a checkpoint: step, config, progress, and under "files" the checksums of the other files, so that a
// file of another checkpoint is not taken for this one's; version 0.1 wrote none. RunError if it is missing, damaged,
// or of another step than the folder.
nlohmann::json checkpoint_state(const std::filesystem::path& checkpoint);
// What it says of a file; empty without.
std::string checksum_in(const nlohmann::json& checkpoint_state, const std::string& name);

// NaN if `object` has no number under `key`.
double number_at(const nlohmann::json& object, std::string_view key);

// The array under `key`; an empty one if there is none.
const nlohmann::json& array_at(const nlohmann::json& object, std::string_view key);

// The numbers of an array under `key`, NaN for what is no number.
std::vector<double> numbers_at(const nlohmann::json& object, std::string_view key);

// x, or null if it is not finite; of losses an infinite one is "diverged".
nlohmann::json finite_or_null(double x);
nlohmann::json losses_json(const std::vector<double>& losses);

// The string under `key`, or `fallback`.
std::string text_at(const nlohmann::json& object, std::string_view key, std::string fallback = "");

// The last line of a file that is not blank; empty if there is none.
std::string last_line(const std::filesystem::path& file);

}  // namespace scalevec::experiments
