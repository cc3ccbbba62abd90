"""Reading images, videos, poses and annotations."""
