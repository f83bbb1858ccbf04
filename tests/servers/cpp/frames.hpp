// Frames: 4 bytes with the length of the body, big-endian, then the body.
#pragma once
#include "loop.hpp"

// A frame with a longer body is refused: its client is closed. A length from the network must have a bound.
constexpr std::size_t HEADER = 4, LONGEST = 16 * 1024 * 1024;

inline std::size_t body_of(std::string_view header) {
  std::size_t len = 0;
  for (char byte : header.substr(0, HEADER)) len = len << 8 | static_cast<unsigned char>(byte);
  return len;
}

// The length of the frame at the beginning of these bytes; 0 when they are no whole frame.
inline std::size_t frame_of(std::string_view bytes) {
  if (bytes.size() < HEADER || bytes.size() < HEADER + body_of(bytes)) return 0;
  return HEADER + body_of(bytes);
}
