#pragma once

#include <sstream>
#include <stdexcept>

namespace pose2seg {

// Exceptions that become the Python exceptions of the same names.
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

// Throws an exception whose message is all the parts, one after the other.
template <class Error, class... Parts>
[[noreturn]] void raise(const Parts&... parts) {
  std::ostringstream message;
  (message << ... << parts);
  throw Error(message.str());
}

// The same unless `holds`.
template <class Error, class... Parts>
void require(bool holds, const Parts&... parts) {
  if (!holds) [[unlikely]]
    raise<Error>(parts...);
}

}  // namespace pose2seg
