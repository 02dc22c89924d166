#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace millrace::broker {

// Something to run once, which may own what cannot be copied (std::function may not). Empty when default-made or moved
// from; running an empty one is a defect.
template <typename... Args>
class OnceFunction {
 public:
  OnceFunction() = default;
  template <typename F>
    requires(!std::is_same_v<std::decay_t<F>, OnceFunction>)
  OnceFunction(F&& function)  // NOLINT(google-explicit-constructor): written as a lambda where a function is taken
      : body_(std::make_unique<Body<std::decay_t<F>>>(std::forward<F>(function))) {}

  explicit operator bool() const { return body_ != nullptr; }
  void operator()(Args... args) { body_->run(std::forward<Args>(args)...); }

 private:
  struct Base {
    virtual ~Base() = default;
    virtual void run(Args... args) = 0;
  };
  template <typename F>
  struct Body final : Base {
    explicit Body(F f) : function(std::move(f)) {}
    void run(Args... args) override { function(std::forward<Args>(args)...); }
    F function;
  };
  std::unique_ptr<Base> body_;
};

using Task = OnceFunction<>;

}  // namespace millrace::broker
