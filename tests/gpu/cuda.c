// cuda FOLDER: a real CUDA call by way of the driver's copies in FOLDER, where the RUNPATH of this program leads, as that
// of a program of Nix does: initialises the driver, names the GPUs, has a kernel compiled from PTX and runs it. Then all
// that was loaded of the driver must have come from FOLDER. No header and no toolkit of CUDA is needed.
//
// Exit status: 0 it works, 77 there is no GPU, 1 anything else.
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NO_GPU = 77, ERROR_NO_DEVICE = 100 };

// Loaded for `sm_70` and later; an older GPU refuses it.
static const char *const ptx =
    ".version 6.0\n"
    ".target sm_70\n"
    ".address_size 64\n"
    ".visible .entry answer(.param .u64 place)\n"
    "{\n"
    "  .reg .u64 %rd<3>;\n"
    "  .reg .u32 %r<2>;\n"
    "  ld.param.u64 %rd1, [place];\n"
    "  cvta.to.global.u64 %rd2, %rd1;\n"
    "  mov.u32 %r1, 42;\n"
    "  st.global.u32 [%rd2], %r1;\n"
    "  ret;\n"
    "}\n";

static void *open_library(const char *name) {
  void *library = dlopen(name, RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  return library;
}

static void *symbol(void *library, const char *name) {
  void *found = dlsym(library, name);
  if (!found) {
    fprintf(stderr, "%s\n", dlerror());
    exit(1);
  }
  return found;
}

static void *cuda;

// Fails with the name of the call and what CUDA says of its error.
static void check(const char *call, int code) {
  if (code == 0) return;
  const char *text = NULL;
  int (*words)(int, const char **) = (int (*)(int, const char **))dlsym(cuda, "cuGetErrorString");
  if (words) words(code, &text);
  fprintf(stderr, "%s: error %d, %s\n", call, code, text ? text : "unknown");
  exit(1);
}

#define CALL(name, types, ...) check(#name, ((int (*) types)symbol(cuda, #name))(__VA_ARGS__))

// What is mapped of the driver, each once: all of it from `folder`, the compiler of PTX among it.
static void from_where(const char *folder) {
  char line[PATH_MAX + 200], last[PATH_MAX] = "";
  int compiler = 0, foreign = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  if (!maps) {
    perror("/proc/self/maps");
    exit(1);
  }
  while (fgets(line, sizeof line, maps)) {
    line[strcspn(line, "\n")] = 0;
    char *path = strchr(line, '/');
    if (!path) continue;
    const char *name = strrchr(path, '/') + 1;
    if (strstr(name, ".so") == NULL || strcmp(path, last) == 0) continue;
    if (strncmp(name, "libcuda", 7) && strncmp(name, "libnvidia", 9) && strncmp(name, "libnvcuvid", 10)) continue;
    snprintf(last, sizeof last, "%s", path);
    int ours = strncmp(path, folder, strlen(folder)) == 0 && path[strlen(folder)] == '/';
    printf("loaded     %s%s\n", path, ours ? "" : "   NOT A COPY");
    foreign |= !ours;
    compiler |= strncmp(name, "libnvidia-ptxjitcompiler", 24) == 0;
  }
  fclose(maps);
  if (foreign) fprintf(stderr, "the driver's libraries did not all come from %s\n", folder);
  if (!compiler) fprintf(stderr, "the PTX compiler was not loaded\n");
  if (foreign || !compiler) exit(1);
}

int main(int count, char **words) {
  char folder[PATH_MAX];
  if (count != 2 || !realpath(words[1], folder)) {
    fprintf(stderr, "usage: cuda FOLDER\n");
    return 1;
  }
  cuda = open_library("libcuda.so.1");
  int code = ((int (*)(unsigned))symbol(cuda, "cuInit"))(0);
  if (code == ERROR_NO_DEVICE) {
    fprintf(stderr, "the driver is there, and no GPU\n");
    return NO_GPU;
  }
  check("cuInit", code);
  int version = 0, devices = 0;
  CALL(cuDriverGetVersion, (int *), &version);
  CALL(cuDeviceGetCount, (int *), &devices);
  printf("CUDA       %d.%d at most, by this driver\n", version / 1000, version % 1000 / 10);
  for (int i = 0; i < devices; i++) {
    int device = 0;
    char name[256] = "";
    CALL(cuDeviceGet, (int *, int), &device, i);
    CALL(cuDeviceGetName, (char *, int, int), name, (int)sizeof name, device);
    printf("GPU %-6d %s\n", i, name);
  }
  // The management library, which nvidia-smi and PyTorch ask.
  void *nvml = open_library("libnvidia-ml.so.1");
  check("nvmlInit_v2", ((int (*)(void))symbol(nvml, "nvmlInit_v2"))());

  int device = 0;
  void *context = NULL, *module = NULL, *kernel = NULL;
  unsigned long long place = 0;
  unsigned answer = 0;
  CALL(cuDeviceGet, (int *, int), &device, 0);
  CALL(cuDevicePrimaryCtxRetain, (void **, int), &context, device);
  CALL(cuCtxSetCurrent, (void *), context);
  CALL(cuModuleLoadData, (void **, const void *), &module, ptx);
  CALL(cuModuleGetFunction, (void **, void *, const char *), &kernel, module, "answer");
  CALL(cuMemAlloc_v2, (unsigned long long *, size_t), &place, sizeof answer);
  void *arguments[] = {&place};
  CALL(cuLaunchKernel,
       (void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **, void **),
       kernel, 1, 1, 1, 1, 1, 1, 0, NULL, arguments, NULL);
  CALL(cuCtxSynchronize, (void), );
  CALL(cuMemcpyDtoH_v2, (void *, unsigned long long, size_t), &answer, place, sizeof answer);
  if (answer != 42) {
    fprintf(stderr, "the kernel's answer is %u, not 42\n", answer);
    return 1;
  }
  printf("kernel     compiled from PTX, and its answer is %u\n", answer);
  from_where(folder);
  return 0;
}
