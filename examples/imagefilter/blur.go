package main

import (
	"image"
	"image/color"
	"math"
)

// weights are the binomial coefficients of row 12, which come close to a Gaussian with σ = √3. Their sum is 4096; over
// both directions the sum of weighted bytes fits in 32 bits. So nothing is rounded in between, and it is the same
// however the picture is cut into bands.
var weights = [...]uint32{1, 12, 66, 220, 495, 792, 924, 792, 495, 220, 66, 12, 1}

const (
	radius = len(weights) / 2
	shift  = 24 // 4096 × 4096
	pixel  = 4  // bytes: R, G, B, A
)

// blur writes rows lo to hi-1 of the blurred picture to band. src is the whole picture, width × height pixels; what lies
// outside of it is taken to be as its edge. It calls after with each row that is done.
func blur(band, src []uint8, width, height, lo, hi int, after func(row int)) {
	stride := width * pixel
	across := make([]uint32, (hi-lo+2*radius)*stride) // rows lo-radius to hi+radius-1, blurred from left to right
	for i := range hi - lo + 2*radius {
		y := min(max(lo-radius+i, 0), height-1)
		from, to := src[y*stride:(y+1)*stride], across[i*stride:(i+1)*stride]
		for x := range width {
			for k, w := range weights {
				at := min(max(x-radius+k, 0), width-1) * pixel
				for c := range pixel {
					to[x*pixel+c] += w * uint32(from[at+c])
				}
			}
		}
	}
	for y := lo; y < hi; y++ {
		to := band[(y-lo)*stride : (y-lo+1)*stride]
		for i := range to {
			sum := uint32(1) << (shift - 1)
			for k, w := range weights {
				sum += w * across[(y-lo+k)*stride+i]
			}
			to[i] = uint8(sum >> shift)
		}
		after(y)
	}
}

// draw makes a picture with edges to soften: rings over a grid.
func draw(width, height int) *image.RGBA {
	p := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			r := math.Hypot(float64(x-width/2), float64(y-height/2))
			c := color.RGBA{uint8(x * 255 / width), uint8(y * 255 / height), 160, 255}
			if int(r)/24%2 == 0 {
				c = color.RGBA{255 - c.R, 40, c.G, 255}
			}
			if x%64 == 0 || y%64 == 0 {
				c = color.RGBA{255, 255, 255, 255}
			}
			p.SetRGBA(x, y, c)
		}
	}
	return p
}
