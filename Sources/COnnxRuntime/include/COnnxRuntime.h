// The part of ONNX Runtime's C ABI that jouled uses, declared by slot.
//
// The ABI is the frozen order of the function table returned by OrtGetApiBase()->GetApi(version): slots are only
// ever appended. Unused slots are reserved words; COnnxRuntime.c asserts each slot's place at compile time.
// All functions here exist since API version 12 or earlier; the library is opened with dlopen, so no symbol is linked.
#pragma once
#include <stddef.h>
#include <stdint.h>

// Nullability is stated where it makes Swift's use simpler (table entries, returned status), not for each parameter.
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wnullability-completeness"

typedef struct OrtEnv OrtEnv;
typedef struct OrtStatus OrtStatus;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtValue OrtValue;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtAllocator OrtAllocator;
typedef struct OrtTypeInfo OrtTypeInfo;
typedef struct OrtTensorTypeAndShapeInfo OrtTensorTypeAndShapeInfo;

typedef int32_t OrtErrorCode;
typedef int32_t OrtLoggingLevel;            // 0 verbose .. 4 fatal
typedef int32_t ExecutionMode;              // 0 sequential, 1 parallel
typedef int32_t GraphOptimizationLevel;     // 0 none .. 99 all
typedef int32_t ONNXType;                   // 1 tensor
typedef int32_t ONNXTensorElementDataType;  // 1 float32, 7 int64, 10 float16
typedef int32_t OrtAllocatorType;           // 0 device, 1 arena
typedef int32_t OrtMemType;                 // 0 default

typedef struct OrtApi {
    void *reserved_0[1];
    OrtErrorCode (*_Nonnull GetErrorCode)(const OrtStatus* status);  // 1
    const char *_Nonnull (*_Nonnull GetErrorMessage)(const OrtStatus* status);  // 2
    OrtStatus *_Nullable (*_Nonnull CreateEnv)(OrtLoggingLevel log_severity_level, const char* logid, OrtEnv** out);  // 3
    void *reserved_4[2];
    OrtStatus *_Nullable (*_Nonnull DisableTelemetryEvents)(const OrtEnv* env);  // 6
    OrtStatus *_Nullable (*_Nonnull CreateSession)(const OrtEnv* env, const char* model_path, const OrtSessionOptions* options, OrtSession** out);  // 7
    OrtStatus *_Nullable (*_Nonnull CreateSessionFromArray)(const OrtEnv* env, const void* model_data, size_t model_data_length, const OrtSessionOptions* options, OrtSession** out);  // 8
    OrtStatus *_Nullable (*_Nonnull Run)(OrtSession* session, const OrtRunOptions* run_options, const char* const* input_names, const OrtValue* const* inputs, size_t input_len, const char* const* output_names, size_t output_names_len, OrtValue** outputs);  // 9
    OrtStatus *_Nullable (*_Nonnull CreateSessionOptions)(OrtSessionOptions** options);  // 10
    OrtStatus *_Nullable (*_Nonnull SetOptimizedModelFilePath)(OrtSessionOptions* options, const char* optimized_model_filepath);  // 11
    void *reserved_12[1];
    OrtStatus *_Nullable (*_Nonnull SetSessionExecutionMode)(OrtSessionOptions* options, ExecutionMode execution_mode);  // 13
    OrtStatus *_Nullable (*_Nonnull EnableProfiling)(OrtSessionOptions* options, const char* profile_file_prefix);  // 14
    void *reserved_15[8];
    OrtStatus *_Nullable (*_Nonnull SetSessionGraphOptimizationLevel)(OrtSessionOptions* options, GraphOptimizationLevel graph_optimization_level);  // 23
    OrtStatus *_Nullable (*_Nonnull SetIntraOpNumThreads)(OrtSessionOptions* options, int intra_op_num_threads);  // 24
    OrtStatus *_Nullable (*_Nonnull SetInterOpNumThreads)(OrtSessionOptions* options, int inter_op_num_threads);  // 25
    void *reserved_26[4];
    OrtStatus *_Nullable (*_Nonnull SessionGetInputCount)(const OrtSession* session, size_t* out);  // 30
    OrtStatus *_Nullable (*_Nonnull SessionGetOutputCount)(const OrtSession* session, size_t* out);  // 31
    void *reserved_32[1];
    OrtStatus *_Nullable (*_Nonnull SessionGetInputTypeInfo)(const OrtSession* session, size_t index, OrtTypeInfo** type_info);  // 33
    OrtStatus *_Nullable (*_Nonnull SessionGetOutputTypeInfo)(const OrtSession* session, size_t index, OrtTypeInfo** type_info);  // 34
    void *reserved_35[1];
    OrtStatus *_Nullable (*_Nonnull SessionGetInputName)(const OrtSession* session, size_t index, OrtAllocator* allocator, char** value);  // 36
    OrtStatus *_Nullable (*_Nonnull SessionGetOutputName)(const OrtSession* session, size_t index, OrtAllocator* allocator, char** value);  // 37
    void *reserved_38[1];
    OrtStatus *_Nullable (*_Nonnull CreateRunOptions)(OrtRunOptions** out);  // 39
    void *reserved_40[6];
    OrtStatus *_Nullable (*_Nonnull RunOptionsSetTerminate)(OrtRunOptions* options);  // 46
    OrtStatus *_Nullable (*_Nonnull RunOptionsUnsetTerminate)(OrtRunOptions* options);  // 47
    void *reserved_48[1];
    OrtStatus *_Nullable (*_Nonnull CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo* info, void* p_data, size_t p_data_len, const int64_t* shape, size_t shape_len, ONNXTensorElementDataType type, OrtValue** out);  // 49
    void *reserved_50[1];
    OrtStatus *_Nullable (*_Nonnull GetTensorMutableData)(OrtValue* value, void** out);  // 51
    void *reserved_52[3];
    OrtStatus *_Nullable (*_Nonnull CastTypeInfoToTensorInfo)(const OrtTypeInfo* type_info, const OrtTensorTypeAndShapeInfo** out);  // 55
    OrtStatus *_Nullable (*_Nonnull GetOnnxTypeFromTypeInfo)(const OrtTypeInfo* type_info, ONNXType* out);  // 56
    void *reserved_57[3];
    OrtStatus *_Nullable (*_Nonnull GetTensorElementType)(const OrtTensorTypeAndShapeInfo* info, ONNXTensorElementDataType* out);  // 60
    OrtStatus *_Nullable (*_Nonnull GetDimensionsCount)(const OrtTensorTypeAndShapeInfo* info, size_t* out);  // 61
    OrtStatus *_Nullable (*_Nonnull GetDimensions)(const OrtTensorTypeAndShapeInfo* info, int64_t* dim_values, size_t dim_values_length);  // 62
    void *reserved_63[2];
    OrtStatus *_Nullable (*_Nonnull GetTensorTypeAndShape)(const OrtValue* value, OrtTensorTypeAndShapeInfo** out);  // 65
    void *reserved_66[3];
    OrtStatus *_Nullable (*_Nonnull CreateCpuMemoryInfo)(OrtAllocatorType type, OrtMemType mem_type, OrtMemoryInfo** out);  // 69
    void *reserved_70[6];
    OrtStatus *_Nullable (*_Nonnull AllocatorFree)(OrtAllocator* ort_allocator, void* p);  // 76
    void *reserved_77[1];
    OrtStatus *_Nullable (*_Nonnull GetAllocatorWithDefaultOptions)(OrtAllocator** out);  // 78
    void *reserved_79[13];
    void (*_Nonnull ReleaseEnv)(OrtEnv *_Nullable object);  // 92
    void (*_Nonnull ReleaseStatus)(OrtStatus *_Nullable object);  // 93
    void (*_Nonnull ReleaseMemoryInfo)(OrtMemoryInfo *_Nullable object);  // 94
    void (*_Nonnull ReleaseSession)(OrtSession *_Nullable object);  // 95
    void (*_Nonnull ReleaseValue)(OrtValue *_Nullable object);  // 96
    void (*_Nonnull ReleaseRunOptions)(OrtRunOptions *_Nullable object);  // 97
    void (*_Nonnull ReleaseTypeInfo)(OrtTypeInfo *_Nullable object);  // 98
    void (*_Nonnull ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo *_Nullable object);  // 99
    void (*_Nonnull ReleaseSessionOptions)(OrtSessionOptions *_Nullable object);  // 100
    void *reserved_101[9];
    OrtStatus *_Nullable (*_Nonnull SessionEndProfiling)(OrtSession* session, OrtAllocator* allocator, char** out);  // 110
    void *reserved_111[19];
    OrtStatus *_Nullable (*_Nonnull AddSessionConfigEntry)(OrtSessionOptions* options, const char* config_key, const char* config_value);  // 130
    void *reserved_131[79];
    OrtStatus *_Nullable (*_Nonnull AddExternalInitializers)(OrtSessionOptions* options, const char* const* initializer_names, const OrtValue* const* initializers, size_t num_initializers);  // 210
} OrtApi;

typedef struct OrtApiBase {
    const OrtApi *_Nullable (*_Nonnull GetApi)(uint32_t version);
    const char *_Nonnull (*_Nonnull GetVersionString)(void);
} OrtApiBase;

/// The library's one exported entry, `OrtGetApiBase`, found with dlsym.
typedef const OrtApiBase *_Nullable (*OrtGetApiBaseFunction)(void);

/// Calls an address found with dlsym as `OrtGetApiBase`.
static inline const OrtApiBase *_Nullable ort_call_get_api_base(void *_Nonnull symbol) {
    return ((OrtGetApiBaseFunction)symbol)();
}

#pragma clang diagnostic pop
