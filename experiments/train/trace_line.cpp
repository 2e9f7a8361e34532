#include "experiments/train/trace_line.hpp"

#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string_view>

namespace scalevec::experiments {
namespace {

void put_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  // Shortest text that reads back as the same double, and as a double: "-0" would be the integer 0.
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  const std::string_view number(text, static_cast<std::size_t>(end - text));
  out += number;
  if (number.find_first_of(".e") == std::string_view::npos) out += ".0";
}

void put_string(std::string& out, const std::string& value) {
  bool plain = true;
  for (const char c : value) plain = plain && c >= ' ' && c <= '~' && c != '"' && c != '\\';
  if (plain)
    (out += '"').append(value) += '"';
  else
    out += nlohmann::json(value).dump();
}

void put_rows(std::string& out, const std::vector<RunTraceRow>& rows) {
  out += '[';
  for (const RunTraceRow& row : rows) {
    if (out.back() != '[') out += ',';
    out += "{\"name\":";
    put_string(out, row.name);
    out += ",\"group\":";
    put_string(out, row.group);
    out += ",\"method\":";
    put_string(out, row.method);
    out += ",\"count\":" + std::to_string(row.count);
    for (const RunTraceField& field : run_trace_fields()) {
      const double value = row.*field.member;
      if (std::isnan(value)) continue;
      ((out += ",\"") += field.name) += "\":";
      put_number(out, value);
    }
    if (!row.gamma_quantiles.empty()) {
      out += ",\"gamma_quantiles\":";
      for (std::size_t i = 0; i < row.gamma_quantiles.size(); ++i) {
        out += i == 0 ? '[' : ',';
        put_number(out, row.gamma_quantiles[i]);
      }
      out += ']';
    }
    out += '}';
  }
  out += ']';
}

}  // namespace

std::string trace_line(std::int64_t step, const std::vector<RunTraceRow>& params,
                       const std::vector<RunTraceRow>& groups) {
  std::string out;
  out.reserve(512 * (params.size() + groups.size()));
  out += "{\"step\":" + std::to_string(step) + ",\"params\":";
  put_rows(out, params);
  out += ",\"groups\":";
  put_rows(out, groups);
  out += '}';
  return out;
}

}  // namespace scalevec::experiments
