#include "include/COnnxRuntime.h"
