#pragma once

#include "core/host_device.h"

namespace pose2seg {

template <class T>
struct Vector2 {
  T x, y;

  HOST_DEVICE Vector2& operator+=(const Vector2& other) {
    x += other.x;
    y += other.y;
    return *this;
  }
};

}  // namespace pose2seg
