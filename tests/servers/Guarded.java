import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.security.config.Customizer;
import org.springframework.security.config.annotation.web.builders.HttpSecurity;
import org.springframework.security.web.SecurityFilterChain;

/** Basic authentication before a Eureka server. */
@Configuration
public class Guarded {
    @Bean
    SecurityFilterChain chain(HttpSecurity http) throws Exception {
        // Without a token against forged forms, which no client of a registry has, nothing could be posted.
        return http.csrf(csrf -> csrf.disable())
            .authorizeHttpRequests(all -> all.anyRequest().authenticated())
            .httpBasic(Customizer.withDefaults())
            .build();
    }
}
