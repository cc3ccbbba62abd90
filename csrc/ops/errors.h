#pragma once

#include <charconv>
#include <concepts>
#include <stdexcept>
#include <string>
#include <string_view>

namespace pose2seg {

// Exceptions that are translated to the Python exceptions of the same names.
struct TypeError : std::runtime_error {
  using runtime_error::runtime_error;
};
struct ValueError : std::runtime_error {
  using runtime_error::runtime_error;
};
struct NotImplementedError : std::runtime_error {
  using runtime_error::runtime_error;
};
struct RuntimeError : std::runtime_error {
  using runtime_error::runtime_error;
};

inline void append(std::string& message, std::string_view text) { message += text; }

// Formats the shortest decimal representation that identifies the number.
template <class Number>
  requires std::integral<Number> || std::floating_point<Number>
void append(std::string& message, Number number) {
  char digits[32];
  message.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

// Throws an exception whose message is the concatenation of the parts.
template <class Error, class... Parts>
[[noreturn]] void raise(const Parts&... parts) {
  std::string message;
  (append(message, parts), ...);
  throw Error(message);
}

// Does the same unless `holds` is true.
template <class Error, class... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) [[unlikely]]
    raise<Error>(parts...);
}

}  // namespace pose2seg
