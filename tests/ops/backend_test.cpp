#include <cstdint>
#include <vector>

#include "bittern/profile.h"
#include "ops/cpu.h"

using namespace bittern;

TEST_CASE("backend: memory is zeroed and aligned, for any size") {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  for (const std::int64_t bytes : {1, 4095, 4096, 4097, (2 << 20) - 1, 2 << 20, (2 << 20) + 1, 9 << 20}) {
    auto* memory = static_cast<std::uint8_t*>(backend->allocate(bytes));
    REQUIRE(reinterpret_cast<std::uintptr_t>(memory) % 4096 == 0);
    bool zero = true;
    for (std::int64_t i = 0; i < bytes; ++i) zero = zero && memory[i] == 0;
    CHECK(zero);
    memory[0] = memory[bytes - 1] = 1;
    backend->release(memory, bytes);
  }
  CHECK(backend->allocate(0) == nullptr);
  backend->release(nullptr, 0);
}

TEST_CASE("backend: memory that cannot be had is refused with a sentence") {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  CHECK_THROWS_AS(backend->allocate(std::int64_t{1} << 62), Error);
  CHECK_THROWS_AS(backend->allocate(-1), Error);
}

TEST_CASE("backend: an op without the scratch it needs says so") {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  std::vector<float> dy(40), dbias(10);
  CHECK_THROWS_WITH(backend->bias_backward({.dbias = Tensor(dbias.data(), DType::f32, Shape{10}),
                                            .dy = Tensor(dy.data(), DType::f32, Shape{4, 10})}),
                    Catch::Matchers::StartsWith("bias_backward: needs 40 bytes of scratch, the workspace has 0"));
}

TEST_CASE("backend: its description names the instruction set") {
  CHECK(make_cpu_backend(1)->description() == "cpu " + std::string(cpu::name(cpu::isa())));
}

TEST_CASE("backend: ops report their bytes and flops to the profile") {
  const TestBackend backend(make_cpu_backend(1));
  const Array a(*backend, DType::f32, 4, 8, noise(1, 32)), b(*backend, DType::bf16, 4, 8),
      w(*backend, DType::f32, 5, 8, noise(2, 40));
  const Array y(*backend, DType::f32, 4, 5);
  Profile profile;
  Profile::current() = &profile;
  backend->copy({.to = b, .from = a});
  backend->linear_forward({.y = y, .x = a, .w = w, .compute = DType::f32});
  Profile::current() = nullptr;
  CHECK(profile.costs().at("copy").calls == 1);
  CHECK(profile.costs().at("copy").bytes == 32 * 4 + 32 * 2);
  CHECK(profile.costs().at("linear_forward").flops == 2 * 4 * 5 * 8);
}
